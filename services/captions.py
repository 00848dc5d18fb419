"""Drawings to captions, several at once: prepare each, generate together, keep each one's fate apart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from captioning.engine import Generation, GenerationRequest
from captioning.pipeline import Prepared, prepare
from rendering import Drawing, SvgCaptionError
from services import watch
from services.catalog import Catalog
from services.engine_host import Outcome
from services.uploads import Upload

Generate = Callable[[Sequence[GenerationRequest]], Awaitable[list[Outcome]]]
"""The engine as seen from here; it may be in another process or on another machine."""


@dataclass(frozen=True)
class Captioned:
    """One drawing with its captions."""

    drawing: Drawing
    generations: list[Generation]


@dataclass(frozen=True)
class Sampling:
    """How captions are drawn from the model."""

    n: int
    max_new_tokens: int
    temperature: float
    seed: int | None


@dataclass(frozen=True)
class Batch:
    """What became of the drawings of one request, in their order."""

    results: list[Captioned | SvgCaptionError]
    timings_ms: dict[str, float]


class Captioner:
    """The one way from bytes to captions, asynchronous: `captioning.pipeline`, then an engine."""

    def __init__(
        self,
        catalog: Catalog,
        tokenizer: PreTrainedTokenizerBase,
        generate: Generate,
        *,
        keep_words: bool = False,
    ) -> None:
        self.catalog = catalog
        self._tokenizer = tokenizer
        self._generate = generate
        self._keep_words = keep_words

    async def caption(self, uploads: Sequence[Upload], model: str, sampling: Sampling) -> Batch:
        """Captions of `model`, an id that the catalog has resolved."""
        began = time.perf_counter()
        prepared = await asyncio.gather(*(self._prepare(upload.data, sampling) for upload in uploads))
        ready = time.perf_counter()
        requests = [
            self._request(prompt.prompt_ids, model, sampling)
            for prompt in prepared
            if isinstance(prompt, Prepared)
        ]
        outcomes = iter(await self._generate(requests) if requests else [])
        results = [
            _captioned(prompt, next(outcomes)) if isinstance(prompt, Prepared) else prompt
            for prompt in prepared
        ]
        done = time.perf_counter()
        timings = {"prepare": ready - began, "generate": done - ready, "total": done - began}
        return Batch(results, {name: round(1000 * seconds, 1) for name, seconds in timings.items()})

    async def _prepare(self, data: bytes, sampling: Sampling) -> Prepared | SvgCaptionError:
        context = self.catalog.spec.max_context_tokens  # None: the engine knows it, and checks again anyway
        room = context - sampling.max_new_tokens if context else None
        try:
            prepared = await asyncio.to_thread(
                prepare, data, self._tokenizer, max_prompt_tokens=room, keep_words=self._keep_words
            )
        except SvgCaptionError as error:
            watch.current().refuse(error.code)
            return error
        watch.current().drew(prepared.drawing.removed)
        return prepared

    def _request(self, prompt_ids: list[int], model: str, sampling: Sampling) -> GenerationRequest:
        return GenerationRequest(
            prompt_ids=prompt_ids,
            adapter=None if model == self.catalog.spec.id else model,
            max_new_tokens=sampling.max_new_tokens,
            temperature=sampling.temperature,
            seed=sampling.seed,
            n=sampling.n,
        )


def _captioned(prompt: Prepared, outcome: Outcome) -> Captioned | SvgCaptionError:
    if isinstance(outcome, SvgCaptionError):
        return outcome
    watch.current().wrote(outcome)
    return Captioned(prompt.drawing, outcome)
