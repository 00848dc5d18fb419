"""Captions by a base model or one of its adapters, by the one way that the service takes as well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from captioning.caption_engine import Caption, CaptionEngine
from captioning.corpus import Sample
from captioning.generation import Generation, GenerationRequest
from captioning.revision import Work, revise
from evaluation.candidates import Candidate
from evaluation.captioners.batches import describe_each
from rendering import SvgCaptionError


class EngineCaptioner:
    def __init__(
        self,
        engine: CaptionEngine,
        *,
        adapter: str | None = None,
        max_new_tokens: int = 64,
        is_revised: bool = False,
    ) -> None:
        """With `is_revised`, what `faithfulness` finds false is written anew."""
        self._engine, self._adapter, self._max_new_tokens = engine, adapter, max_new_tokens
        self._describe = self._revised if is_revised else self._captioned

    def caption(self, samples: Sequence[Sample]) -> Iterator[Candidate]:
        size = self._engine.max_batch_size
        for start in range(0, len(samples), size):
            batch = samples[start : start + size]
            results = describe_each(self._describe, [sample.svg for sample in batch])
            for sample, result in zip(batch, results, strict=True):
                yield Candidate.of(sample.id, result if isinstance(result, Exception) else result.text)

    def _captioned(self, svgs: Sequence[str]) -> Sequence[Caption | SvgCaptionError]:
        return self._engine.caption(svgs, adapter=self._adapter, max_new_tokens=self._max_new_tokens)

    def _revised(self, svgs: Sequence[str]) -> Sequence[Generation | SvgCaptionError]:
        captioned = self._captioned(svgs)
        works = [
            Work(caption.drawing, self._request(svg), [caption])
            for svg, caption in zip(svgs, captioned, strict=True)
            if isinstance(caption, Caption)
        ]
        revised = iter(revise(self._engine, works))
        return [next(revised)[0] if isinstance(caption, Caption) else caption for caption in captioned]

    def _request(self, svg: str) -> GenerationRequest:
        prompt = self._engine.prepare(svg, self._max_new_tokens).prompt_ids
        return GenerationRequest(prompt, self._adapter, self._max_new_tokens)
