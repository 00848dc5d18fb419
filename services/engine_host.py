"""One engine with its adapters, answering for many callers at once: what an engine replica runs, without Ray.

The engine batches by itself. An adapter is loaded when it is first asked for, and again when its folder
has changed or the engine has put it away; one thread sees to that, so that no two ever load the same.
Requests for what is loaded do not wait for it, and what cannot be loaded is not tried again as it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from captioning.caption_engine import CaptionEngine
from captioning.errors import (
    AdapterError,
    AdapterMemoryFull,
    ConfigError,
    EngineUnavailable,
    GenerationFailed,
    ModelNotFound,
)
from captioning.generation import Generation, GenerationRequest
from captioning.ticket import Ticket
from rendering.errors import SvgCaptionError
from services.catalog import Catalog, Stamp, stamp

log = logging.getLogger(__name__)

Outcome = list[Generation] | SvgCaptionError
"""What became of one request: its `n` texts. Errors travel as values: one must not lose the others."""

_PAUSE_S = 0.05  # between news: a message for each token would cost more than writing it


@dataclass(frozen=True)
class Piece:
    """What has been added to a text."""

    request: int  # its place among those that were asked together
    index: int  # of the text, where a request asked for several
    text: str


@dataclass(frozen=True)
class End:
    """A request has ended."""

    request: int
    outcome: Outcome


News = list[Piece | End]
"""What has happened to the requests of one call since the last news: at most one piece of each text."""


class EngineHost:
    """Generates for requests that name an adapter of `catalog`, or none for the base model."""

    def __init__(
        self, engine: CaptionEngine, catalog: Catalog, observe: Callable[[Ticket], object] = lambda _: None
    ) -> None:
        """`observe` gets each ticket when it has ended, on any thread."""
        self._engine = engine
        self._catalog = catalog
        self._observe = observe
        # Loaded adapters as they were when they were loaded, and what is wrong with those that cannot be.
        self._stamps: dict[str, tuple[Path, Stamp]] = {}
        self._problems: dict[str, tuple[tuple[Path, Stamp], AdapterError]] = {}
        self._loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="adapters")
        self._lookers = ThreadPoolExecutor(max_workers=4, thread_name_prefix="folders")

    async def generate(self, requests: Sequence[GenerationRequest]) -> list[Outcome]:
        """One outcome per request, in order; who cancels the call frees the places of all."""
        return await asyncio.gather(*(_outcome(request, self._texts(request)) for request in requests))

    async def stream(self, requests: Sequence[GenerationRequest]) -> AsyncGenerator[News, None]:
        """The texts as they are written, and each request's outcome at its end.

        The first news, often empty, come when the first request has been queued or refused. Who stops
        listening frees the places of all.
        """
        news: asyncio.Queue[Piece | End | None] = asyncio.Queue()
        running = {
            asyncio.create_task(self._follow(place, request, news.put_nowait))
            for place, request in enumerate(requests)
        }
        try:
            while running or not news.empty():
                arrived = [await news.get()]
                while not news.empty():
                    arrived.append(news.get_nowait())
                yield _joined(arrived)
                if running := {task for task in running if not task.done()}:
                    await asyncio.wait(running, timeout=_PAUSE_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def load(self, adapter_id: str, folder: Path) -> SvgCaptionError | None:
        """Load an adapter before it is asked for; what stands in the way is a value, too."""
        try:
            await asyncio.wrap_future(self._loader.submit(self._load, adapter_id, folder))
        except SvgCaptionError as error:
            return error
        except OSError as error:
            return _unreadable(adapter_id, error)
        return None

    async def unload(self, adapter_id: str) -> SvgCaptionError | None:
        """Free an adapter's memory; what is being written with it goes on. What went wrong is a value."""
        try:
            await asyncio.wrap_future(self._loader.submit(self._unload, adapter_id))
        except SvgCaptionError as error:
            return error
        return None

    async def _follow(
        self, place: int, request: GenerationRequest, tell: Callable[[Piece | End | None], None]
    ) -> None:
        async def texts() -> list[Generation]:
            ticket = await self._submit(request, stream=True)
            tell(None)
            async for delta in ticket:
                tell(Piece(place, delta.index, delta.text))
            return await ticket

        tell(End(place, await _outcome(request, texts())))

    async def _texts(self, request: GenerationRequest) -> list[Generation]:
        return await (await self._submit(request))

    async def _submit(self, request: GenerationRequest, *, stream: bool = False) -> Ticket:
        if request.adapter is None:
            return self._start(request, stream)
        here = copy_context().run  # so that the log has the id of the request there, too
        looked = self._lookers.submit(here, self._looked_up, request.adapter)
        folder, now = await asyncio.wrap_future(looked)
        if self._is_loaded(request.adapter, folder, now):
            with suppress(ModelNotFound):  # put away at this moment
                return self._start(request, stream)
        here = copy_context().run
        submitted = self._loader.submit(here, self._load_and_submit, request, request.adapter, stream)
        try:
            return await asyncio.wrap_future(submitted)
        except asyncio.CancelledError:
            submitted.add_done_callback(_cancel_ticket)
            raise

    def _load_and_submit(self, request: GenerationRequest, adapter_id: str, stream: bool) -> Ticket:
        self._load(adapter_id, self._catalog.folder(adapter_id))
        return self._start(request, stream)

    def _start(self, request: GenerationRequest, stream: bool) -> Ticket:
        ticket = self._engine.submit(request, stream=stream)
        ticket.when_done(partial(self._observe, ticket))
        return ticket

    def _looked_up(self, adapter_id: str) -> tuple[Path, Stamp]:
        folder = self._catalog.folder(adapter_id)
        return folder, stamp(folder)

    def _is_loaded(self, adapter_id: str, folder: Path, now: Stamp) -> bool:
        return self._stamps.get(adapter_id) == (folder, now) and adapter_id in self._engine.adapters

    def _load(self, adapter_id: str, folder: Path) -> None:
        now = stamp(folder)
        if self._is_loaded(adapter_id, folder, now):
            return
        known, problem = self._problems.get(adapter_id, (None, None))
        if problem and known == (folder, now):
            raise problem
        try:
            self._engine.load_adapter(folder, adapter_id)  # takes the place of an older one of the same id
        except AdapterMemoryFull:
            raise
        except AdapterError as error:
            self._problems[adapter_id] = (folder, now), error
            raise
        self._problems.pop(adapter_id, None)
        self._stamps[adapter_id] = folder, now
        log.info("loaded adapter %s from %s", adapter_id, folder)

    def _unload(self, adapter_id: str) -> None:
        if self._stamps.pop(adapter_id, None) and adapter_id in self._engine.adapters:
            self._engine.unload_adapter(adapter_id)
            log.info("unloaded adapter %s", adapter_id)


async def _outcome(request: GenerationRequest, texts: Awaitable[list[Generation]]) -> Outcome:
    try:
        return await texts
    except (ConfigError, EngineUnavailable) as error:  # no address or key for clients
        log.error("the engine cannot answer: %s", error)
        return EngineUnavailable("The engine cannot answer now. Try again in a moment.")
    except SvgCaptionError as error:
        return error
    except OSError as error:
        return _unreadable(request.adapter, error)
    except Exception as error:
        log.exception("generation failed")
        return GenerationFailed(f"The model broke down over this request ({type(error).__name__}).")


def _unreadable(adapter_id: str | None, error: OSError) -> ModelNotFound:
    """Its folder is being replaced or deleted at this moment."""
    return ModelNotFound(f"Adapter '{adapter_id}' cannot be read: {error}")


def _joined(arrived: Iterable[Piece | End | None]) -> News:
    """The pieces of each text as one, then the ends."""
    texts: dict[tuple[int, int], str] = {}
    ends: News = []
    for event in arrived:
        if isinstance(event, End):
            ends.append(event)
        elif event:
            key = event.request, event.index
            texts[key] = texts.get(key, "") + event.text
    return [Piece(*key, text) for key, text in texts.items()] + ends


def _cancel_ticket(submitted: Future[Ticket]) -> None:
    if not submitted.cancelled() and submitted.exception() is None:
        submitted.result().cancel()
