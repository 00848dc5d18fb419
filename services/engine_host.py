"""One engine with its adapters, answering batches: what an engine replica runs, without Ray.

Everything that touches the model happens on one thread, so that loading an adapter and generating
never meet. An adapter is loaded when it is first asked for, and again when its folder has changed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from captioning.engine import Engine, Generation, GenerationRequest
from captioning.errors import ModelNotFound
from rendering.errors import SvgCaptionError
from services.batching import Batcher
from services.catalog import Catalog, Stamp, stamp

log = logging.getLogger(__name__)

Outcome = Generation | SvgCaptionError
"""What became of one request. Errors travel as values: one bad request must not lose its batch."""


class EngineHost:
    """Generates for requests that name an adapter of `catalog`, or none for the base model."""

    def __init__(self, engine: Engine, catalog: Catalog, *, max_batch_size: int) -> None:
        self._engine = engine
        self._catalog = catalog
        self._stamps: dict[str, Stamp] = {}  # loaded adapters, as they were when they were loaded
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._batcher: Batcher[GenerationRequest, Outcome] = Batcher(
            self._run, max_batch_size=max_batch_size, executor=self._executor
        )

    async def generate(self, requests: Sequence[GenerationRequest]) -> list[Outcome]:
        return await self._batcher.submit(requests)

    def _run(self, requests: list[GenerationRequest]) -> list[Outcome]:
        missing = {
            adapter_id: error
            for adapter_id in {request.adapter for request in requests if request.adapter}
            if (error := self._ensure_loaded(adapter_id))
        }
        ready = [request for request in requests if request.adapter not in missing]
        generated = iter(self._generate(ready))
        return [missing[r.adapter] if r.adapter in missing else next(generated) for r in requests]

    def _generate(self, requests: list[GenerationRequest]) -> list[Outcome]:
        """Generates together; if that fails, one by one, so that only the culprit gets the error."""
        if not requests:
            return []
        try:
            return list(self._engine.generate(requests))
        except Exception as error:
            if len(requests) > 1:
                return [outcome for request in requests for outcome in self._generate([request])]
            if isinstance(error, SvgCaptionError):
                return [error]
            log.exception("generation failed")
            return [SvgCaptionError(f"generation failed: {type(error).__name__}")]

    def _ensure_loaded(self, adapter_id: str) -> SvgCaptionError | None:
        try:
            self._load(adapter_id)
        except SvgCaptionError as error:
            return error
        except OSError as error:  # the folder is being replaced or deleted at this moment
            return ModelNotFound(f"Adapter '{adapter_id}' cannot be read: {error}")
        return None

    def _load(self, adapter_id: str) -> None:
        folder = self._catalog.folder(adapter_id)
        now = stamp(folder)
        if self._stamps.get(adapter_id) == now:
            return
        self._engine.load_adapter(folder)  # takes the place of an older one of the same id
        self._stamps[adapter_id] = now
        log.info("loaded adapter %s from %s", adapter_id, folder)
