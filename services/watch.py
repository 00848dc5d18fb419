"""What becomes of each request, for log and metrics: one record, filled in by whoever learns something.

A record holds names and numbers: nothing of a drawing, of a caption or of a key. Knows no Ray.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from captioning.generation import Generation

UNKNOWN = "unknown"  # the path of no route: a client may send any, and each would be a series of metrics
PROBES = frozenset({"/healthz", "/readyz"})
CLIENT_CLOSED = 499  # nginx's number for a client that went away; it is never sent
CANCELLED = "cancelled"

log = logging.getLogger(__name__)


@dataclass
class Record:
    """One request to the API."""

    method: str = ""
    endpoint: str = UNKNOWN  # its route, not its path
    request_id: str = ""
    status: int = 0
    outcome: str = "ok"  # or the type of the error, "cancelled" or "broken_off"
    key: str | None = None  # its name
    model: str | None = None
    drawings: int = 0  # those that were refused, too
    refused: Counter[str] = field(default_factory=Counter)  # drawings by error code
    removed: Counter[str] = field(default_factory=Counter)  # elements and attributes by kind
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0

    def drew(self, removed: Iterable[str]) -> None:
        """A drawing was accepted, without what the sanitizer took out, such as `script (2)`."""
        self.drawings += 1
        for item in removed:
            kind, _, count = item.rpartition(" ")
            self.removed[kind] += int(count.strip("()"))

    def wrote(self, texts: Sequence[Generation]) -> None:
        """The captions of one drawing; its prompt was read once for all of them."""
        self.prompt_tokens += texts[0].prompt_tokens
        self.completion_tokens += sum(text.completion_tokens for text in texts)

    def refuse(self, code: str) -> None:
        """A drawing was refused."""
        self.drawings += 1
        self.refused[code] += 1


Observe = Callable[[Record], None]

_current: ContextVar[Record | None] = ContextVar("record", default=None)


def current() -> Record:
    """The record of the request under way; outside of one, a record that nobody reads."""
    return _current.get() or Record()


class Watch:
    """Outermost around the API: hands each request's record to `observers` when all of its answer is sent."""

    def __init__(self, app: ASGIApp, *observers: Observe) -> None:
        self._app = app
        self._observers = observers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record, began = Record(method=scope["method"]), time.monotonic()

        async def noting_status(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
            await send(message)

        token = _current.set(record)
        try:
            await self._app(scope, receive, noting_status)
        except asyncio.CancelledError:
            record.status, record.outcome = CLIENT_CLOSED, CANCELLED
            raise
        except BaseException:
            record.outcome = "broken_off"
            raise
        finally:
            _current.reset(token)
            record.seconds = time.monotonic() - began
            record.endpoint = getattr(scope.get("route"), "path", UNKNOWN)
            state = scope.get("state", {})
            record.request_id, record.key = state.get("request_id", ""), state.get("key")
            for observe in self._observers:
                observe(record)


def write_line(record: Record) -> None:
    """One line of the log; a probe that finds all well is no news."""
    level = logging.DEBUG if record.endpoint in PROBES and record.status == 200 else logging.INFO
    fields = {
        "request_id": record.request_id,
        "method": record.method,
        "endpoint": record.endpoint,
        "status": record.status,
        "outcome": record.outcome,
        "key": record.key,
        "model": record.model,
        "drawings": record.drawings,
        "refused": dict(record.refused),
        "removed": sum(record.removed.values()),
        "prompt_tokens": record.prompt_tokens,
        "completion_tokens": record.completion_tokens,
        "ms": round(1000 * record.seconds, 1),
    }
    known = {name: value for name, value in fields.items() if value not in (None, {})}
    log.log(level, "%s %s %d", record.method, record.endpoint, record.status, extra=known)
