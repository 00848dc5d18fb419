"""Who may ask, and how often: API keys in a file of their hashes. Without such a file everyone may.

A key is 256 random bits, so a plain SHA-256 guards it: the slow, salted hashes of passwords are against
guessing, and there is nothing to guess. The file is read again when it changes: a key that is deleted
there is revoked.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import math
import os
import secrets
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from captioning.errors import ConfigError
from services.administration import ADMIN_PATHS
from services.errors import ApiError
from services.paths import API_PREFIX, is_api, route_path

PAGE = "page"  # the name of the page's own key

log = logging.getLogger(__name__)


class Key(BaseModel):
    """One entry of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[\w.-]{1,64}$")  # stands in the log where the key itself must not
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    admin: bool = False  # may load and unload adapters, too
    requests_per_minute: int | None = Field(None, ge=1)  # of each ingress replica; None: no limit


_KEYS = TypeAdapter(Annotated[list[Key], Field(min_length=1)])


class Bucket:
    """A token bucket: holds a minute's worth, and fills as steadily as it may be emptied."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._capacity = per_minute
        self._tokens = float(per_minute)
        self._filled = clock()

    def take(self) -> float:
        """0 if there was a token; otherwise the seconds until there will be one."""
        now = self._clock()
        per_second = self._capacity / 60
        self._tokens = min(self._capacity, self._tokens + (now - self._filled) * per_second)
        self._filled = now
        if self._tokens < 1:
            return (1 - self._tokens) / per_second
        self._tokens -= 1
        return 0.0


class Keyring:
    """The keys of a file and, if there is a page, one for it: it calls the API like any other client.

    The page's key gives no more than the page itself, which anyone who reaches this service can open;
    it follows from the file, so that an old and a new replica know the same one during an update.

    Raises:
        ConfigError: the file cannot be used.
    """

    def __init__(self, path: Path, *, page: bool, page_requests_per_minute: int | None = None) -> None:
        self._path = path
        self._buckets: dict[Key, Bucket] = {}
        self._stamp = _stamp(path)
        self._keys = read_keys(path)
        hashes = "".join(sorted(key.sha256 for key in self._keys))
        self.page_key = hmac.new(hashes.encode(), PAGE.encode(), "sha256").hexdigest()
        self._page = [
            Key(name=PAGE, sha256=hash_of(self.page_key), requests_per_minute=page_requests_per_minute)
        ] * page

    def find(self, secret: str) -> Key | None:
        """The entry of a key that a client sent; takes as long whichever it is, and for one that is wrong."""
        self._refresh()
        sent = hash_of(secret)
        found = [key for key in (*self._keys, *self._page) if hmac.compare_digest(key.sha256, sent)]
        return found[0] if found else None

    def wait_s(self, key: Key) -> float:
        """Count one request; 0 if it may go on, otherwise the seconds until one may."""
        if key.requests_per_minute is None:
            return 0.0
        return self._buckets.setdefault(key, Bucket(key.requests_per_minute)).take()

    def _refresh(self) -> None:
        now = _stamp(self._path)
        if now == self._stamp:
            return
        self._stamp = now
        try:
            self._keys = read_keys(self._path)
        except ConfigError as error:
            log.error("the keys stay as they were: %s", error)


class Access:
    """Lets a request to `/v1/` pass if its key allows it; leaves the key's name in the request's state."""

    def __init__(self, app: ASGIApp, keyring: Keyring) -> None:
        self._app = app
        self._keyring = keyring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and is_api(scope):
            scope.setdefault("state", {})["key"] = self._admit(scope).name
        await self._app(scope, receive, send)

    def _admit(self, scope: Scope) -> Key:
        scheme, _, secret = Headers(scope=scope).get("authorization", "").partition(" ")
        key = self._keyring.find(secret.strip()) if scheme.lower() == "bearer" else None
        if key is None:
            raise ApiError(
                401,
                "invalid_api_key",
                "This service needs a key that it knows: send the header 'Authorization: Bearer KEY'.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if route_path(scope).rstrip("/") in ADMIN_PATHS and not key.admin:
            raise ApiError(403, "admin_key_needed", f"The key '{key.name}' is not for administration.")
        if wait_s := self._keyring.wait_s(key):
            raise ApiError(
                429,
                "rate_limited",
                f"The key '{key.name}' may send {key.requests_per_minute} requests a minute. "
                f"Try again in {math.ceil(wait_s)} s.",
                headers={"Retry-After": str(math.ceil(wait_s))},
            )
        return key


def describe(document: dict[str, Any]) -> None:
    """Add to an OpenAPI document what keys ask of a client, and how it may be refused."""
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    schema = {"$ref": "#/components/schemas/ErrorBody"}
    for path, methods in document["paths"].items():
        statuses = (401, 403, 429) if path in ADMIN_PATHS else (401, 429)
        for operation in methods.values() if path.startswith(API_PREFIX) else ():
            operation["security"] = [{"key": []}]
            for status in statuses:
                described = {
                    "description": HTTPStatus(status).phrase,
                    "content": {"application/json": {"schema": schema}},
                }
                operation["responses"].setdefault(str(status), described)


def hash_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def read_keys(path: Path) -> list[Key]:
    """All entries of a file.

    Raises:
        ConfigError: it cannot be read, or says what is not understood.
    """
    try:
        return _parse(path.read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: cannot be read: {error}. Make keys with: python -m services key"
        ) from None


def add_key(path: Path, name: str, *, admin: bool = False, requests_per_minute: int | None = None) -> str:
    """Make a key and write its hash at the end of the file; returns the key, which is kept nowhere.

    Raises:
        ConfigError: the name is taken or no name, or the file cannot be used.
    """
    secret = f"svg_{secrets.token_urlsafe(32)}"
    entry: dict[str, object] = {"name": name, "sha256": hash_of(secret)}
    entry |= {"admin": True} if admin else {}
    entry |= {"requests_per_minute": requests_per_minute} if requests_per_minute else {}
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    addition = "\n" * bool(before and not before.endswith("\n")) + yaml.safe_dump([entry], sort_keys=False)
    _parse(before + addition, path)
    with os.fdopen(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8"
    ) as file:
        file.write(addition)
    return secret


def _parse(text: str, path: Path) -> list[Key]:
    try:
        keys = _KEYS.validate_python(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the list of keys"
        raise ConfigError(f"{path}: {where}: {first['msg']}") from None
    names = [key.name for key in keys]
    if twice := next((name for name in names if names.count(name) > 1 or name == PAGE), None):
        raise ConfigError(f"{path}: the name '{twice}' is taken. Give each key a name of its own.")
    return keys


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
