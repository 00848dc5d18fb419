"""The HTTP API: routes, and what they answer. Knows nothing of Ray nor of the page."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException

from rendering import Rasterizer, SvgCaptionError, load
from services import errors, reference, watch
from services.captions import Batch, Captioned, Captioner, Sampling
from services.catalog import created_s
from services.errors import ApiError
from services.schemas import (
    BatchResponse,
    CaptionBody,
    CaptionOptions,
    CaptionResponse,
    CaptionText,
    ErrorBody,
    ErrorInfo,
    FileResult,
    ModelCard,
    ModelList,
    RenderBody,
    RenderOptions,
    SvgInfo,
    Usage,
)
from services.settings import Settings
from services.uploads import Upload, read

Ready = Callable[[], Awaitable[bool]]


class Gate:
    """At most `limit` requests inside; the next one is told to come back, at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside = 0

    @contextmanager
    def enter(self) -> Iterator[None]:
        if self._inside >= self._limit:
            raise errors.overloaded(f"{self._inside} requests are waiting, the limit. Try again in a moment.")
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1


def build_api(settings: Settings, captioner: Captioner, rasterizer: Rasterizer, ready: Ready) -> FastAPI:
    """The API over a captioner, wherever its engine runs; `ready` says whether that engine answers."""
    api = FastAPI(title="SVG captions", version="1", docs_url=None, redoc_url=None, summary=reference.SUMMARY)
    api.add_exception_handler(HTTPException, errors.handle_http_exception)
    api.add_exception_handler(Exception, errors.pass_on)
    gate = Gate(settings.max_pending)
    drawing_threads = ThreadPoolExecutor(settings.render_workers, thread_name_prefix="render")

    @api.post(
        "/v1/captions",
        summary="Caption one drawing or several",
        response_model=None,
        responses=_responses(CaptionResponse | BatchResponse, 400, 404, 409, 413, 415, 422, 503, 504),
        openapi_extra=_request_body(CaptionBody, CaptionOptions, several=True),
    )
    async def create_captions(request: Request) -> CaptionResponse | BatchResponse:
        """One file gives the plain answer; several give `results`, one per file, each with its own status."""
        with gate.enter():
            options, uploads = await read(request, CaptionBody, CaptionOptions, max_files=settings.max_files)
            sampling = _sampling(options, settings)
            model = await _resolve(captioner, options.model)
            batch = await captioner.caption(uploads, model, sampling)
        if len(uploads) == 1:
            return _single(batch, model, uploads[0])
        return _several(batch, model, uploads, request.state.request_id)

    @api.get("/v1/models", summary="The base model and its adapters", responses=_responses(None, 503))
    async def list_models() -> ModelList:
        """Read from the adapters folder at each request: a new adapter appears without a restart."""
        manifests = await asyncio.to_thread(captioner.catalog.manifests)
        base, default = captioner.catalog.spec.id, captioner.catalog.default
        cards = [ModelCard(id=base, created=0, default=base == default)]
        for name, manifest in manifests.items():
            cards.append(
                ModelCard(
                    id=name,
                    created=created_s(manifest),
                    parent=base,
                    default=name == default,
                    manifest=manifest.model_dump(mode="json"),
                )
            )
        return ModelList(data=cards)

    @api.post(
        "/v1/render",
        summary="Preview one drawing as PNG",
        response_class=Response,
        responses=_responses(None, 400, 413, 415, 422, 503, 504)
        | {200: {"content": {"image/png": {}}, "description": "The sanitized drawing, padded to a square."}},
        openapi_extra=_request_body(RenderBody, RenderOptions, several=False),
    )
    async def render(request: Request) -> Response:
        """Drawn from the sanitized copy by the same renderer that training and evaluation use."""
        with gate.enter():
            options, uploads = await read(request, RenderBody, RenderOptions, max_files=1)
            loop = asyncio.get_running_loop()
            png = await loop.run_in_executor(drawing_threads, _draw, rasterizer, uploads[0], options.size_px)
        return Response(png, media_type="image/png")

    @api.get("/healthz", summary="Is this process alive?")
    async def healthz() -> dict[str, str]:
        """Answers as long as the process does, whatever the engine is doing."""
        return {"status": "ok"}

    @api.get("/readyz", summary="Does the engine answer?", responses=_responses(None, 503))
    async def readyz() -> dict[str, str]:
        """The base model is loaded and takes requests."""
        if not await ready():
            raise errors.overloaded("The engine does not answer yet.", "not_ready")
        return {"status": "ready", "model": captioner.catalog.default}

    @api.get("/docs", include_in_schema=False, response_class=HTMLResponse)
    async def docs() -> str:
        return reference.html_page(api.openapi())

    return api


def _sampling(options: CaptionOptions, settings: Settings) -> Sampling:
    """The request's wishes within the service's limits.

    Raises:
        ApiError: a wish that cannot be met.
    """
    max_tokens = settings.max_tokens if options.max_tokens is None else options.max_tokens
    if options.stream:
        raise _invalid("stream", "stream is not supported yet. Leave it out or send false.")
    if max_tokens > settings.max_tokens_limit:
        raise _invalid("max_tokens", f"max_tokens is {max_tokens}, the limit is {settings.max_tokens_limit}.")
    if options.n > settings.max_captions:
        raise _invalid("n", f"n is {options.n}, the limit is {settings.max_captions}.")
    if options.n > 1 and options.temperature == 0:
        raise _invalid(
            "n", f"At temperature 0 all {options.n} captions would be the same. Raise temperature."
        )
    return Sampling(options.n, max_tokens, options.temperature, options.seed)


def _invalid(param: str, message: str) -> ApiError:
    return ApiError(422, "invalid_request", message, param=param)


async def _resolve(captioner: Captioner, name: str | None) -> str:
    try:
        model = await asyncio.to_thread(captioner.catalog.resolve, name)
    except SvgCaptionError as error:
        raise errors.from_domain(error, "model") from None
    watch.current().model = model
    return model


def _draw(rasterizer: Rasterizer, upload: Upload, size_px: int) -> bytes:
    try:
        return rasterizer.render(load(upload.data), size_px=size_px, background="auto")
    except SvgCaptionError as error:
        raise errors.from_domain(error, upload.param) from None


def _single(batch: Batch, model: str, upload: Upload) -> CaptionResponse:
    result = batch.results[0]
    if isinstance(result, SvgCaptionError):
        raise errors.from_domain(result, upload.param)
    return CaptionResponse(
        id=_new_id(),
        model=model,
        captions=_texts(result),
        usage=_usage([result]),
        timings_ms=batch.timings_ms,
        svg=_svg_info(result),
    )


def _several(batch: Batch, model: str, uploads: list[Upload], request_id: str) -> BatchResponse:
    return BatchResponse(
        id=_new_id(),
        model=model,
        results=[
            _file_result(upload, result, request_id)
            for upload, result in zip(uploads, batch.results, strict=True)
        ],
        usage=_usage([result for result in batch.results if isinstance(result, Captioned)]),
        timings_ms=batch.timings_ms,
    )


def _file_result(upload: Upload, result: Captioned | SvgCaptionError, request_id: str) -> FileResult:
    if isinstance(result, SvgCaptionError):
        error = errors.from_domain(result, upload.param)
        return FileResult(
            file=upload.name, status=error.status_code, error=ErrorInfo.model_validate(error.body(request_id))
        )
    return FileResult(
        file=upload.name, status=200, captions=_texts(result), usage=_usage([result]), svg=_svg_info(result)
    )


def _texts(result: Captioned) -> list[CaptionText]:
    return [CaptionText(text=made.text, finish_reason=made.finish_reason) for made in result.generations]


def _usage(results: list[Captioned]) -> Usage:
    """A prompt that is read once for n captions counts once."""
    return Usage(
        prompt_tokens=sum(result.generations[0].prompt_tokens for result in results),
        completion_tokens=sum(made.completion_tokens for result in results for made in result.generations),
    )


def _svg_info(result: Captioned) -> SvgInfo:
    drawing = result.drawing
    return SvgInfo(
        width=drawing.width,
        height=drawing.height,
        elements=drawing.elements,
        removed=list(drawing.removed),
        warnings=list(drawing.warnings),
    )


def _new_id() -> str:
    return f"caption-{uuid.uuid4().hex}"


def _responses(success: Any, *statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI shall say of the answers of a route."""
    described: dict[int | str, dict[str, Any]] = {status: {"model": ErrorBody} for status in statuses}
    return described | ({200: {"model": success}} if success else {})


def _request_body(
    json_body: type[CaptionBody | RenderBody], options: type[Any], *, several: bool
) -> dict[str, Any]:
    """What OpenAPI shall say of a route that takes JSON as well as a form."""
    form = options.model_json_schema()
    file: dict[str, Any] = {"type": "string", "format": "binary"}
    if several:
        file = {"type": "array", "items": file}
    file["description"] = (
        "SVG or SVGZ; several parts of this name are several files." if several else "SVG or SVGZ."
    )
    form["properties"] = {"file": file} | form["properties"]
    form["required"] = ["file"]
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": form},
                "application/json": {"schema": json_body.model_json_schema()},
            },
        }
    }
