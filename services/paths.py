"""Which route a request is for: its path without the prefix that the application is mounted at."""

from __future__ import annotations

from starlette.types import Scope

API_PREFIX = "/v1/"


def route_path(scope: Scope) -> str:
    """The path below `root_path`, as Starlette's router sees it; Ray Serve leaves its prefix in both."""
    path, root = str(scope.get("path", "")), str(scope.get("root_path", "")).rstrip("/")
    below = path.removeprefix(root)
    return below if below != path and (not below or below.startswith("/")) else path


def is_api(scope: Scope) -> bool:
    return route_path(scope).startswith(API_PREFIX)
