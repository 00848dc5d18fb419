"""The HTTP API: routes, and what they answer. Knows nothing of Ray nor of the page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, aclosing, contextmanager
from typing import Protocol

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException

from rendering import Rasterizer
from services import access, administration, chat, drawings, errors, reference, streams
from services.administration import AdapterEngine
from services.answers import answer, request_body, responses
from services.asking import resolve, sampling_of
from services.captions import Batch, Captioner
from services.catalog import created_s
from services.engine_host import Piece
from services.judge import Judge
from services.reviser import Reviser
from services.schemas import (
    BatchResponse,
    CaptionBody,
    CaptionDelta,
    CaptionOptions,
    CaptionResponse,
    ModelCard,
    ModelList,
)
from services.settings import Settings
from services.svg_urls import SvgUrls
from services.uploads import read

_ANSWERING_S = 1.0  # of a request's time are left for the answer when claims and drafts are given up


class Engine(AdapterEngine, Protocol):
    """The engine beside what the captioner asks of it."""

    async def ready(self) -> bool: ...


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


def build_api(
    settings: Settings,
    captioner: Captioner,
    rasterizer: Rasterizer,
    engine: Engine,
    urls: SvgUrls | None = None,
) -> FastAPI:
    """The API over a captioner, wherever its engine runs."""
    api = FastAPI(title="SVG captions", version="1", docs_url=None, redoc_url=None, summary=reference.SUMMARY)
    api.add_exception_handler(HTTPException, errors.handle_http_exception)
    api.add_exception_handler(Exception, errors.pass_on)
    urls = urls or SvgUrls(
        settings.svg_url_hosts, max_bytes=settings.max_upload_bytes, timeout_s=settings.svg_url_timeout_s
    )
    judge = Judge(timeout_s=settings.check_timeout_s)
    reviser = Reviser(judge, captioner, timeout_s=settings.revise_timeout_s)
    gate = Gate(settings.max_pending)

    async def admitted() -> AsyncIterator[AsyncExitStack]:
        """Inside the gate until the last byte has been sent; then what is on the stack is closed."""
        with gate.enter():
            async with AsyncExitStack() as stack:
                yield stack

    @api.post(
        "/v1/captions",
        summary="Caption one drawing or several",
        response_model=None,
        responses=responses(
            CaptionResponse | BatchResponse, 400, 404, 409, 413, 415, 422, 503, 504, streams=True
        ),
        openapi_extra=request_body(CaptionBody, CaptionOptions, several=True),
    )
    async def create_captions(
        request: Request, stack: AsyncExitStack = Depends(admitted)
    ) -> CaptionResponse | BatchResponse | Response:
        """One file gives the plain answer; several give `results`, one per file, each with its own status.

        A stream has events named `delta`, each with what was added to one caption, and at last one named
        `done`, whose data is the plain answer; or one named `error`. With `revise`, the pieces are those
        of the first draft.
        """
        options, uploads = await read(
            request, CaptionBody, CaptionOptions, urls, max_files=settings.max_files
        )
        sampling = sampling_of(options, settings)
        model = await resolve(captioner.catalog, options.model)
        until = request.state.deadline.when() - _ANSWERING_S

        async def finished(batch: Batch) -> CaptionResponse | BatchResponse:
            if options.revise:
                batch = await reviser.revise(batch, until)
            elif options.check:
                batch = await judge.judge(batch, until)
            return answer(batch, model, uploads, request.state.request_id)

        if options.stream:
            events = _caption_events(captioner.stream(uploads, model, sampling), finished)
            return await streams.respond(request, events, stack, deadline_s=settings.deadline_s)
        return await finished(await captioner.caption(uploads, model, sampling))

    chat.add_route(api, settings, captioner, urls, admitted)

    @api.get("/v1/models", summary="The base model and its adapters", responses=responses(None, 503))
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

    drawings.add_routes(api, settings, rasterizer, urls, admitted)
    administration.add_routes(api, settings, captioner.catalog, engine)

    @api.get("/healthz", summary="Is this process alive?")
    async def healthz() -> dict[str, str]:
        """Answers as long as the process does, whatever the engine is doing."""
        return {"status": "ok"}

    @api.get("/readyz", summary="Does the engine answer?", responses=responses(None, 503))
    async def readyz() -> dict[str, str]:
        """The base model is loaded and takes requests."""
        if not await engine.ready():
            raise errors.overloaded("The engine does not answer yet.", "not_ready")
        return {"status": "ready", "model": captioner.catalog.default}

    @api.get("/docs", include_in_schema=False, response_class=HTMLResponse)
    async def docs() -> str:
        return reference.html_page(api.openapi())

    if settings.keys_file:
        access.describe(api.openapi())  # FastAPI makes the document once and keeps it
    return api


async def _caption_events(
    stream: AsyncGenerator[list[Piece] | Batch, None],
    finished: Callable[[Batch], Awaitable[CaptionResponse | BatchResponse]],
) -> streams.Events:
    async with aclosing(stream):
        async for news in stream:
            if isinstance(news, Batch):
                yield streams.event(await finished(news), "done")
            elif not news:
                yield streams.ACCEPTED
            for piece in news if isinstance(news, list) else ():
                yield streams.event(
                    CaptionDelta(file=piece.request, index=piece.index, text=piece.text), "delta"
                )
