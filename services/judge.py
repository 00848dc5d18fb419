"""Captions judged against their drawings: `faithfulness`, in a process that is killed when it oversteps."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from rendering import SvgCaptionError
from rendering.process import Worker
from services.captions import Batch, Captioned
from services.schemas import ClaimVerdict

log = logging.getLogger(__name__)

_MOST_REPLY_BYTES = 1 << 20


class Judge:
    """Judges drawing after drawing in one worker process, which starts when it is first needed.

    `timeout_s` limits each drawing and all drawings of a request together, `memory_mib` each one.
    """

    def __init__(self, *, timeout_s: float, memory_mib: int = 512) -> None:
        self._timeout_s, self._memory_mib = timeout_s, memory_mib
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="judge")  # a worker hears one at a time
        self._worker: Worker | None = None

    async def judge(self, batch: Batch) -> Batch:
        """The batch with the claims of its captions, and a warning where a drawing cannot be judged."""
        began = time.perf_counter()
        results = await asyncio.gather(*(self._judged(result) for result in batch.results))
        taken_ms = round(1000 * (time.perf_counter() - began), 1)
        total_ms = round(batch.timings_ms["total"] + taken_ms, 1)
        return Batch(results, batch.timings_ms | {"check": taken_ms, "total": total_ms})

    async def _judged(self, result: Captioned | SvgCaptionError) -> Captioned | SvgCaptionError:
        if not isinstance(result, Captioned):
            return result
        texts = [made.text for made in result.generations]
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_s):
                claims = await loop.run_in_executor(self._threads, self._ask, result.drawing.svg, texts)
        except TimeoutError:
            return _unjudged(result, f"there was no verdict after {self._timeout_s:g} s, the limit")
        except Exception as error:  # noqa: BLE001 - a caption must not be lost for its claims
            log.warning("captions were not checked: %s: %s", type(error).__name__, error)
            return _unjudged(result, "the drawing cannot be judged")
        return replace(result, claims=claims)

    def _ask(self, svg: str, texts: Sequence[str]) -> list[list[ClaimVerdict]]:
        if self._worker is None or self._worker.exit_status is not None:
            self._worker = Worker("faithfulness.worker", str(self._memory_mib))
        reply, _ = self._worker.ask(
            {"captions": texts}, svg.encode(), timeout_s=self._timeout_s, max_bytes=_MOST_REPLY_BYTES
        )
        if "problem" in reply:
            raise ValueError(reply["problem"])
        return [
            [ClaimVerdict(text=text[one["start"] : one["end"]], **one) for one in claims]
            for text, claims in zip(texts, reply["claims"], strict=True)
        ]


def _unjudged(result: Captioned, why: str) -> Captioned:
    warning = f"The captions were not checked: {why}."
    return replace(result, drawing=replace(result.drawing, warnings=(*result.drawing.warnings, warning)))
