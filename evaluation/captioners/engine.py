"""Captions by a base model or one of its adapters, by the one way that the service takes as well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from captioning.caption_engine import Caption, CaptionEngine
from captioning.corpus import Sample
from evaluation.candidates import Candidate
from evaluation.captioners.batches import describe_each
from rendering import SvgCaptionError


class EngineCaptioner:
    def __init__(
        self, engine: CaptionEngine, *, adapter: str | None = None, max_new_tokens: int = 64
    ) -> None:
        self._engine, self._adapter, self._max_new_tokens = engine, adapter, max_new_tokens

    def caption(self, samples: Sequence[Sample]) -> Iterator[Candidate]:
        size = self._engine.max_batch_size
        for start in range(0, len(samples), size):
            batch = samples[start : start + size]
            results = describe_each(self._describe, [sample.svg for sample in batch])
            for sample, result in zip(batch, results, strict=True):
                yield Candidate.of(sample.id, result if isinstance(result, Exception) else result.text)

    def _describe(self, svgs: Sequence[str]) -> list[Caption | SvgCaptionError]:
        return self._engine.caption(svgs, adapter=self._adapter, max_new_tokens=self._max_new_tokens)
