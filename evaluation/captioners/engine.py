"""Captions by a base model or one of its adapters, by the one way that the service takes as well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from captioning.caption_engine import Caption, CaptionEngine
from captioning.corpus import Sample
from captioning.generation import Generation, GenerationRequest
from captioning.revision import Draft, Revision
from evaluation.candidates import Candidate
from evaluation.captioners.batches import describe_each
from faithfulness import Facts, check, read_facts
from rendering import SvgCaptionError


class EngineCaptioner:
    def __init__(
        self,
        engine: CaptionEngine,
        *,
        adapter: str | None = None,
        max_new_tokens: int = 64,
        revise: bool = False,
    ) -> None:
        """With `revise`, what `faithfulness` finds false is written anew."""
        self._engine, self._adapter, self._max_new_tokens = engine, adapter, max_new_tokens
        self._describe = self._revised if revise else self._captioned

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
        revisions: dict[int, Revision[None]] = {}
        facts: dict[int, Facts] = {}
        asked: dict[int, GenerationRequest] = {}

        def hear(place: int, text: Generation) -> None:
            checked = check(text.text, facts[place])
            draft = Draft(text, None, checked.faults, checked.count("true"))
            if request := revisions[place].hear(draft):
                asked[place] = request

        for place, (svg, caption) in enumerate(zip(svgs, captioned, strict=True)):
            if isinstance(caption, Caption):
                prompt = self._engine.prepare(svg, self._max_new_tokens).prompt_ids
                request = GenerationRequest(prompt, self._adapter, self._max_new_tokens)
                revisions[place] = Revision(self._engine.tokenizer, request)
                facts[place] = read_facts(caption.drawing)
                hear(place, caption)
        while asked:
            places, requests = list(asked), list(asked.values())
            asked.clear()
            for place, text in zip(places, self._engine.generate(requests), strict=True):
                hear(place, text)
        return [
            revisions[place].best.text if place in revisions else caption
            for place, caption in enumerate(captioned)
        ]
