"""The outermost layer: what holds for every request, whatever answers it.

A request id on everything, a limit on the body while it is read, a deadline for the API, security
headers, and JSON instead of a traceback if something breaks. Pure ASGI; knows neither captions nor Ray.
"""

from __future__ import annotations

import asyncio
import logging
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services import errors, watch
from services.errors import ApiError, response, too_large
from services.paths import is_api

log = logging.getLogger(__name__)

# Gradio needs inline scripts and styles; nothing may come from, or go to, another origin.
_CONTENT_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
SECURITY_HEADERS = {
    "Content-Security-Policy": _CONTENT_POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Border:
    """Wraps the whole application.

    Ray Serve's proxy gives each request its id and puts it on the answer, so that its logs and ours
    agree; `send_request_id` does so under any other server.
    """

    def __init__(
        self, app: ASGIApp, *, max_body_bytes: int, deadline_s: float, send_request_id: bool = False
    ) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._deadline_s = deadline_s
        self._send_request_id = send_request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = Headers(scope=scope).get("x-request-id") or uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        own_headers = {"X-Request-ID": request_id} if self._send_request_id else {}
        outgoing = _Outgoing(send, SECURITY_HEADERS | own_headers, is_api=is_api(scope))
        try:
            self._check_length(Headers(scope=scope))
            async with asyncio.timeout(self._deadline_s if outgoing.is_api else None) as deadline:
                scope["state"]["deadline"] = deadline  # a stream sees to it itself, see services.streams
                await self._app(scope, self._limited(receive), outgoing)
        except ApiError as error:
            await self._answer(error, scope, receive, outgoing)
        except TimeoutError:
            await self._answer(errors.late(self._deadline_s), scope, receive, outgoing)
        except ClientDisconnect:  # while it sent the body: there is nobody to answer
            record = watch.current()
            record.status, record.outcome = watch.CLIENT_CLOSED, watch.CANCELLED
        except Exception:
            log.exception("request %s failed: %s %s", request_id, scope["method"], scope["path"])
            await self._answer(errors.broken(), scope, receive, outgoing)

    def _check_length(self, headers: Headers) -> None:
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._max_body_bytes:
            raise too_large(self._max_body_bytes)

    def _limited(self, receive: Receive) -> Receive:
        read_bytes = 0

        async def limited() -> Message:
            nonlocal read_bytes
            message = await receive()
            read_bytes += len(message.get("body", b""))
            if read_bytes > self._max_body_bytes:
                raise too_large(self._max_body_bytes)
            return message

        return limited

    @staticmethod
    async def _answer(error: ApiError, scope: Scope, receive: Receive, outgoing: _Outgoing) -> None:
        if outgoing.started:
            raise error  # half an answer must not look whole: the server cuts the connection
        await response(error, scope)(scope, receive, outgoing)


class _Outgoing:
    """The way out: adds the headers that every response carries, and remembers that one has begun."""

    def __init__(self, send: Send, headers: dict[str, str], *, is_api: bool) -> None:
        self._send = send
        self._headers = headers
        self.is_api = is_api
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=message)
            for name, value in self._headers.items():
                headers.setdefault(name, value)
            if self.is_api:
                headers.setdefault("Cache-Control", "no-store")
        await self._send(message)
