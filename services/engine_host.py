"""One engine with its adapters, answering for many callers at once: what an engine replica runs, without Ray.

The engine batches by itself. An adapter is loaded when it is first asked for, and again when its folder
has changed or the engine has put it away; one thread sees to that, so that no two ever load the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from captioning.caption_engine import CaptionEngine
from captioning.errors import ConfigError, EngineUnavailable, ModelNotFound
from captioning.generation import Generation, GenerationRequest
from captioning.ticket import Ticket
from rendering.errors import SvgCaptionError
from services.catalog import Catalog, Stamp, stamp

log = logging.getLogger(__name__)

Outcome = list[Generation] | SvgCaptionError
"""What became of one request: its `n` texts. Errors travel as values: one must not lose the others."""


class EngineHost:
    """Generates for requests that name an adapter of `catalog`, or none for the base model."""

    def __init__(self, engine: CaptionEngine, catalog: Catalog) -> None:
        self._engine = engine
        self._catalog = catalog
        self._stamps: dict[str, Stamp] = {}  # loaded adapters, as they were when they were loaded
        self._loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="adapters")

    async def generate(self, requests: Sequence[GenerationRequest]) -> list[Outcome]:
        """One outcome per request, in order; who cancels the call frees the places of all."""
        return await asyncio.gather(*map(self._outcome, requests))

    async def _outcome(self, request: GenerationRequest) -> Outcome:
        try:
            ticket = await self._submit(request)
            return await ticket
        except (
            ConfigError,
            EngineUnavailable,
        ) as error:  # no address or key for clients
            log.error("the engine cannot answer: %s", error)
            return EngineUnavailable("The engine cannot answer now. Try again in a moment.")
        except SvgCaptionError as error:
            return error
        except OSError as error:  # the folder is being replaced or deleted at this moment
            return ModelNotFound(f"Adapter '{request.adapter}' cannot be read: {error}")
        except Exception as error:
            log.exception("generation failed")
            return SvgCaptionError(f"generation failed: {type(error).__name__}")

    async def _submit(self, request: GenerationRequest) -> Ticket:
        if request.adapter is None:
            return self._engine.submit(request)
        submitted = self._loader.submit(self._load_and_submit, request, request.adapter)
        try:
            return await asyncio.wrap_future(submitted)
        except asyncio.CancelledError:
            submitted.add_done_callback(_cancel_ticket)
            raise

    def _load_and_submit(self, request: GenerationRequest, adapter_id: str) -> Ticket:
        folder = self._catalog.folder(adapter_id)
        now = stamp(folder)
        if self._stamps.get(adapter_id) != now or adapter_id not in self._engine.adapters:
            self._engine.load_adapter(folder)  # takes the place of an older one of the same id
            self._stamps[adapter_id] = now
            log.info("loaded adapter %s from %s", adapter_id, folder)
        return self._engine.submit(request)


def _cancel_ticket(submitted: Future[Ticket]) -> None:
    if not submitted.cancelled() and submitted.exception() is None:
        submitted.result().cancel()
