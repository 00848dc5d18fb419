"""Drawings to captions, several at once: prepare each, generate together, keep each one's fate apart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from captioning.generation import Generation, GenerationRequest
from captioning.pipeline import Prepared, prepare
from rendering import Drawing, SvgCaptionError
from services import watch
from services.catalog import Catalog
from services.engine_host import End, News, Outcome, Piece
from services.schemas import ClaimVerdict
from services.uploads import Upload

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Engine(Protocol):
    """The engine as seen from here; it may be in another process or on another machine.

    Its methods are those of `services.engine_host.EngineHost`.
    """

    async def generate(self, requests: Sequence[GenerationRequest], /) -> list[Outcome]: ...

    def stream(self, requests: Sequence[GenerationRequest], /) -> AsyncGenerator[News, None]: ...


@dataclass(frozen=True)
class Judged:
    """One caption's claims, and the character at which each that is false goes wrong."""

    claims: list[ClaimVerdict]
    faults: list[int]


@dataclass(frozen=True)
class Captioned:
    """One drawing with its captions."""

    drawing: Drawing
    request: GenerationRequest  # what was asked of the engine
    generations: list[Generation]
    judged: list[Judged] | None = None  # each of them; None: not asked for, or not to be had
    drafts: list[str | None] | None = None  # what was written first, where it has been revised

    def warned(self, warning: str) -> Captioned:
        return replace(self, drawing=replace(self.drawing, warnings=(*self.drawing.warnings, warning)))


@dataclass(frozen=True)
class Sampling:
    """How captions are drawn from the model."""

    n: int
    max_new_tokens: int
    temperature: float
    seed: int | None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Batch:
    """What became of the drawings of one request, in their order."""

    results: list[Captioned | SvgCaptionError]
    timings_ms: dict[str, float]

    def with_results(self, results: list[Captioned | SvgCaptionError], step: str, began: float) -> Batch:
        """After one step more, which took the time since `began` (of time.perf_counter())."""
        taken = round(1000 * (time.perf_counter() - began), 1)
        total = round(self.timings_ms["total"] + taken, 1)
        return Batch(results, self.timings_ms | {step: taken, "total": total})


class Captioner:
    """The one way from bytes to captions, asynchronous: `captioning.pipeline`, then an engine."""

    def __init__(
        self,
        catalog: Catalog,
        tokenizer: PreTrainedTokenizerBase,
        engine: Engine,
        *,
        keep_words: bool = False,
    ) -> None:
        self.catalog = catalog
        self.tokenizer = tokenizer
        self.engine = engine
        self._keep_words = keep_words

    async def caption(self, uploads: Sequence[Upload], model: str, sampling: Sampling) -> Batch:
        """Captions of `model`, an id that the catalog has resolved."""
        began = time.perf_counter()
        prepared = await self._prepare_all(uploads, sampling)
        ready = time.perf_counter()
        requests = self._requests(prepared, model, sampling)
        outcomes = await self.engine.generate(requests) if requests else []
        return _batch(prepared, requests, outcomes, began, ready)

    async def stream(
        self, uploads: Sequence[Upload], model: str, sampling: Sampling
    ) -> AsyncGenerator[list[Piece] | Batch, None]:
        """What is added to the captions while they are written, and at last what `caption` returns.

        A piece's `request` is the drawing's place. The first pieces, perhaps none, come when the engine has
        taken the work; if it refuses all of it, the batch comes first.
        """
        began = time.perf_counter()
        prepared = await self._prepare_all(uploads, sampling)
        ready = time.perf_counter()
        requests = self._requests(prepared, model, sampling)
        places = [place for place, prompt in enumerate(prepared) if isinstance(prompt, Prepared)]
        outcomes: dict[int, Outcome] = {}
        if requests:
            async with aclosing(self.engine.stream(requests)) as stream:
                async for news in stream:
                    outcomes |= {end.request: end.outcome for end in news if isinstance(end, End)}
                    pieces = [
                        replace(piece, request=places[piece.request])
                        for piece in news
                        if isinstance(piece, Piece)
                    ]
                    if pieces or len(outcomes) < len(requests):
                        yield pieces
        ended = [outcomes[place] for place in range(len(requests))]
        yield _batch(prepared, requests, ended, began, ready)

    async def _prepare_all(
        self, uploads: Sequence[Upload], sampling: Sampling
    ) -> list[Prepared | SvgCaptionError]:
        return await asyncio.gather(*(self._prepare(upload.data, sampling) for upload in uploads))

    async def _prepare(self, data: bytes, sampling: Sampling) -> Prepared | SvgCaptionError:
        context = self.catalog.spec.max_context_tokens  # None: the engine knows it, and checks again anyway
        room = context - sampling.max_new_tokens if context else None
        try:
            prepared = await asyncio.to_thread(
                prepare, data, self.tokenizer, max_prompt_tokens=room, keep_words=self._keep_words
            )
        except SvgCaptionError as error:
            watch.current().refuse(error.code)
            return error
        watch.current().drew(prepared.drawing.removed)
        return prepared

    def _requests(
        self, prepared: Sequence[Prepared | SvgCaptionError], model: str, sampling: Sampling
    ) -> list[GenerationRequest]:
        """For the drawings that were accepted, in their order."""
        return [
            GenerationRequest(
                prompt_ids=prompt.prompt_ids,
                adapter=None if model == self.catalog.spec.id else model,
                max_new_tokens=sampling.max_new_tokens,
                temperature=sampling.temperature,
                seed=sampling.seed,
                n=sampling.n,
                stop=sampling.stop,
            )
            for prompt in prepared
            if isinstance(prompt, Prepared)
        ]


def _batch(
    prepared: Sequence[Prepared | SvgCaptionError],
    requests: Sequence[GenerationRequest],
    outcomes: Sequence[Outcome],
    began: float,
    ready: float,
) -> Batch:
    written = iter(zip(requests, outcomes, strict=True))
    results = [
        _captioned(prompt, *next(written)) if isinstance(prompt, Prepared) else prompt for prompt in prepared
    ]
    done = time.perf_counter()
    timings = {"prepare": ready - began, "generate": done - ready, "total": done - began}
    return Batch(results, {name: round(1000 * seconds, 1) for name, seconds in timings.items()})


def _captioned(prompt: Prepared, request: GenerationRequest, outcome: Outcome) -> Captioned | SvgCaptionError:
    if isinstance(outcome, SvgCaptionError):
        return outcome
    watch.current().wrote(outcome)
    return Captioned(prompt.drawing, request, outcome)
