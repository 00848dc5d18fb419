"""What is false in captions written anew: the judge, the engine, and `captioning.revision` between them."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from captioning.generation import Generation, GenerationRequest
from captioning.revision import Draft, Revision
from rendering import SvgCaptionError
from services import watch
from services.captions import Batch, Captioned, Captioner, Judged
from services.judge import Judge, Unjudged

log = logging.getLogger(__name__)


@dataclass
class _Caption:
    svg: str
    revision: Revision[Judged]
    request: GenerationRequest | None = None  # for the next draft; None: there will be no more
    problem: str | None = None  # why there are no more, if something came between

    def hear(self, text: Generation, judged: Judged) -> None:
        n_true = sum(claim.verdict == "true" for claim in judged.claims)
        self.request = self.revision.hear(Draft(text, judged, judged.faults, n_true))

    def give_up(self, problem: str) -> None:
        self.request, self.problem = None, problem.removesuffix(".")


class Reviser:
    """`timeout_s` is for all captions of a request together; what was revised until then stays."""

    def __init__(self, judge: Judge, captioner: Captioner, *, timeout_s: float) -> None:
        self._judge, self._captioner, self._timeout_s = judge, captioner, timeout_s

    async def revise(self, batch: Batch, until: float = math.inf) -> Batch:
        """The batch with the best draft of each caption, its claims, and what was written first.

        `until` is a time of the event loop after which no draft is begun or waited for.
        """
        batch = await self._judge.judge(batch, until)
        began = time.perf_counter()
        captions = [self._captions(result) for result in batch.results]
        await self._write_anew([caption for some in captions for caption in some], until)
        results = [
            _revised(result, some) if isinstance(result, Captioned) and some else result
            for result, some in zip(batch.results, captions, strict=True)
        ]
        return batch.with_results(results, "revise", began)

    def _captions(self, result: Captioned | SvgCaptionError) -> list[_Caption]:
        """Those of a drawing, or none where they could not be judged."""
        found: list[_Caption] = []
        if isinstance(result, Captioned) and result.judged:
            for index, (text, judged) in enumerate(zip(result.generations, result.judged, strict=True)):
                revision = Revision[Judged](self._captioner.tokenizer, result.request, index)
                found.append(_Caption(result.drawing.svg, revision))
                found[-1].hear(text, judged)
        return found

    async def _write_anew(self, captions: Sequence[_Caption], until: float) -> None:
        now = asyncio.get_running_loop().time()
        limit_s = min(self._timeout_s, max(0.0, until - now))
        try:
            async with asyncio.timeout(limit_s):
                while asked := [caption for caption in captions if caption.request]:
                    await self._write_drafts(asked)
        except TimeoutError:
            problem = f"there was no more time after {limit_s:.3g} s, the limit"
        except Exception as error:  # noqa: BLE001 - a caption must not be lost for a better one
            log.warning("captions were not revised: %s: %s", type(error).__name__, error)
            problem = "the engine did not answer"
        else:
            return
        for caption in captions:
            if caption.request:
                caption.give_up(problem)

    async def _write_drafts(self, captions: Sequence[_Caption]) -> None:
        """One more of each."""
        requests = [caption.request for caption in captions if caption.request]
        written: dict[str, list[tuple[_Caption, Generation]]] = {}  # by drawing
        for caption, outcome in zip(captions, await self._captioner.engine.generate(requests), strict=True):
            if isinstance(outcome, SvgCaptionError):
                caption.give_up(str(outcome))
            else:
                written.setdefault(caption.svg, []).append((caption, outcome[0]))
        for svg, drafts in written.items():
            try:
                verdicts = await self._judge.verdicts(svg, [text.text for _, text in drafts])
            except Unjudged as error:
                for caption, _ in drafts:
                    caption.give_up(str(error))
            else:
                for (caption, text), judged in zip(drafts, verdicts, strict=True):
                    caption.hear(text, judged)


def _revised(result: Captioned, captions: Sequence[_Caption]) -> Captioned:
    best = [caption.revision.best for caption in captions]
    first = [caption.revision.first.text.text for caption in captions]
    watch.current().completion_tokens += sum(
        new.text.completion_tokens - old.completion_tokens
        for old, new in zip(result.generations, best, strict=True)
    )
    revised = replace(
        result,
        generations=[draft.text for draft in best],
        judged=[draft.judged for draft in best],
        drafts=[old if old != new.text.text else None for old, new in zip(first, best, strict=True)],
    )
    problems = dict.fromkeys(caption.problem for caption in captions if caption.problem)
    for problem in problems:
        revised = revised.warned(f"The captions were not revised to the end: {problem}.")
    return revised
