"""Where requests come in, and where the last one is seen out before the process ends."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from services import errors
from services.paths import route_path

_LIVE = "/healthz"  # goes on answering: a process that ends in order is not ill
_LOOK_EVERY_S = 0.05


class Door:
    """Around an ASGI application: once it is closing, new requests are told to come back."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._closing = False
        self._inside: set[asyncio.Task[Any] | None] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or route_path(scope) == _LIVE:
            await self._app(scope, receive, send)
            return
        if self._closing:
            raise errors.overloaded("The service is going down. Try again in a moment.", "shutting_down")
        task = asyncio.current_task()
        self._inside.add(task)
        try:
            await self._app(scope, receive, send)
        finally:
            self._inside.discard(task)

    async def close(self) -> None:
        """Let no one in any more, and wait until all have left."""
        self._closing = True
        while self._inside:
            await asyncio.sleep(_LOOK_EVERY_S)

    def clear(self) -> None:
        """Break off the answers under way: pages keep one open for as long as they are shown."""
        self._closing = True
        for task in self._inside:
            if task:
                task.cancel()
