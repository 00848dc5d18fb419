"""Answers in pieces: server-sent events, kept alive, within the deadline, with errors in our one shape."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing

from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from pydantic import BaseModel
from starlette.requests import Request

from services import errors, watch
from services.errors import ApiError
from services.schemas import ErrorBody, ErrorInfo

log = logging.getLogger(__name__)

Admitted = Callable[[], AsyncIterator[AsyncExitStack]]
"""A dependency of routes that counts their requests, and closes what is on the stack after the last byte."""

Events = AsyncGenerator[bytes, None]

ACCEPTED = KEEPALIVE_COMMENT
"""A first event that says nothing, so that the answer begins."""

_QUIET_S = 10.0  # proxies on the way give up what is silent for long
_GRACE_S = 5.0  # after the deadline, for telling of it


def event(data: BaseModel | str, name: str | None = None) -> bytes:
    """One event; without a name it is a `message`, as OpenAI's are."""
    return format_sse_event(data_str=data if isinstance(data, str) else data.model_dump_json(), event=name)


async def respond(
    request: Request, events: Events, stack: AsyncExitStack, *, deadline_s: float
) -> EventSourceResponse:
    """The answer made of `events`, which are closed with `stack`: at its end, or when the client goes away.

    What they raise before the first one gets a status of its own, later it is an event `error`.
    """
    await stack.enter_async_context(aclosing(events))
    first = await anext(events)
    deadline: asyncio.Timeout = request.state.deadline
    ends_at = deadline.when() or float("inf")
    deadline.reschedule(ends_at + _GRACE_S)
    kept = _kept_alive(events, ends_at, errors.late(deadline_s))
    await stack.enter_async_context(aclosing(kept))
    body = _body(first, kept, request.state.request_id)
    await stack.enter_async_context(aclosing(body))
    return EventSourceResponse(body, headers={"X-Accel-Buffering": "no"})  # nginx: send it at once


async def _body(first: bytes, rest: Events, request_id: str) -> Events:
    yield first
    try:
        async for one in rest:
            yield one
    except ApiError as error:
        yield _error(error, request_id)
    except Exception:
        log.exception("request %s failed in its stream", request_id)
        yield _error(errors.broken(), request_id)


async def _kept_alive(events: Events, ends_at: float, late: ApiError) -> Events:
    """The events, a comment wherever they are silent for long, and `late` raised when it is."""
    now = asyncio.get_running_loop().time
    upcoming = asyncio.ensure_future(_next(events))
    try:
        while True:
            done, _ = await asyncio.wait({upcoming}, timeout=max(0.0, min(_QUIET_S, ends_at - now())))
            if done:
                if (one := upcoming.result()) is None:
                    return
                yield one
                upcoming = asyncio.ensure_future(_next(events))
            elif now() >= ends_at:
                raise late
            else:
                yield KEEPALIVE_COMMENT
    finally:
        upcoming.cancel()
        await asyncio.wait({upcoming})


async def _next(events: Events) -> bytes | None:
    return await anext(events, None)


def _error(error: ApiError, request_id: str) -> bytes:
    watch.current().outcome = error.kind
    return event(ErrorBody(error=ErrorInfo.model_validate(error.body(request_id))), "error")
