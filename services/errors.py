"""Every refusal in one shape: `{"error": {"type", "message", "param", "request_id"}}`.

Status codes of a refused drawing: 400 it cannot be read as SVG, 413 it has too many bytes,
422 it is readable but passes a limit of work (elements, depth, prompt length, ...).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from captioning.errors import (
    AdapterError,
    AdapterMemoryFull,
    CacheLost,
    EngineClosed,
    EngineUnavailable,
    GenerationFailed,
    ModelNotFound,
)
from rendering.errors import SvgCaptionError, SvgRejected
from services import watch

# The service's own trouble, which may be over in a moment.
_PASSING = (AdapterMemoryFull, CacheLost, EngineClosed, EngineUnavailable, GenerationFailed)
UNREADABLE = frozenset({"empty", "encoding", "entities", "malformed", "not_svg"})
RETRY_AFTER_S = 1


class StartError(SvgCaptionError, RuntimeError):
    """The service cannot be started; the message says what stands in the way."""

    code = "start"


class ApiError(HTTPException):
    """A refusal as the client sees it."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail=message, headers=headers)
        self.kind = kind
        self.param = param

    def body(self, request_id: str) -> dict[str, Any]:
        return {"type": self.kind, "message": self.detail, "param": self.param, "request_id": request_id}


def overloaded(message: str, kind: str = "overloaded") -> ApiError:
    """503 with the header that tells a client when to come back."""
    return ApiError(503, kind, message, headers={"Retry-After": str(RETRY_AFTER_S)})


def too_large(limit: int) -> ApiError:
    return ApiError(
        413,
        "too_large",
        f"The request body is over the limit of {limit:,} bytes. Send fewer or smaller files.",
    )


def late(deadline_s: float) -> ApiError:
    return ApiError(504, "deadline_exceeded", f"No answer within {deadline_s:g} s. Try again later.")


def broken() -> ApiError:
    """Nobody expected it; the traceback is for the log alone."""
    return ApiError(500, "internal_error", "The service failed to answer. The log has the request id.")


def from_domain(error: SvgCaptionError, param: str | None = None) -> ApiError:
    """What one of our own errors means over HTTP."""
    if isinstance(error, _PASSING):
        return overloaded(str(error), error.code)
    return ApiError(_status(error), error.code, str(error), param=_param(error) or param)


async def handle_http_exception(request: Request, error: Any) -> JSONResponse:
    """Registered for Starlette's HTTPException, on the API and on the page alike."""
    return response(_from_http(error, request), request.scope)


async def pass_on(_request: Request, error: Exception) -> JSONResponse:
    """Registered for what nobody expected, so that Starlette leaves the answer to `services.border`."""
    raise error


def response(error: ApiError, scope: Any) -> JSONResponse:
    watch.current().outcome = error.kind
    request_id = scope.get("state", {}).get("request_id", "")
    return JSONResponse({"error": error.body(request_id)}, error.status_code, headers=error.headers)


def _from_http(error: HTTPException, request: Request) -> ApiError:
    """What Starlette or FastAPI refused by themselves: unknown path, wrong method, broken body."""
    if isinstance(error, ApiError):
        return error
    status = HTTPStatus(error.status_code)
    kind = status.phrase.lower().replace(" ", "_").replace("-", "_")
    message = str(error.detail)
    if status in {404, 405}:
        message = f"{message}: {request.method} {request.url.path}. What there is stands at /docs."
    return ApiError(status, kind, message, headers=dict(error.headers or {}))


def _status(error: SvgCaptionError) -> int:
    if isinstance(error, SvgRejected):
        if error.code == "too_large":
            return 413
        return 400 if error.code in UNREADABLE else 422
    if isinstance(error, ModelNotFound):
        return 404
    if isinstance(error, AdapterError):
        return 409
    return 422


def _param(error: SvgCaptionError) -> str | None:
    return "model" if isinstance(error, ModelNotFound | AdapterError) else None
