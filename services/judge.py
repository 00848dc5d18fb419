"""Captions judged against their drawings: `faithfulness`, in a process that is killed when it oversteps."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from rendering import SvgCaptionError
from rendering.process import Worker
from services.captions import Batch, Captioned, Judged
from services.schemas import ClaimVerdict

log = logging.getLogger(__name__)

_MOST_REPLY_BYTES = 1 << 20


class Unjudged(Exception):
    """Captions could not be judged; `str()` says why, for the client."""


class Judge:
    """Judges drawing after drawing in one worker process, which starts when it is first needed.

    `timeout_s` limits each drawing and all drawings of a request together, `memory_mib` each one.
    """

    def __init__(self, *, timeout_s: float, memory_mib: int = 512) -> None:
        self._timeout_s, self._memory_mib = timeout_s, memory_mib
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="judge")  # a worker hears one at a time
        self._worker: Worker | None = None

    async def judge(self, batch: Batch, until: float = math.inf) -> Batch:
        """The batch with the claims of its captions, and a warning where a drawing cannot be judged.

        `until` is a time of the event loop after which no claims are waited for.
        """
        began = time.perf_counter()
        results = await asyncio.gather(*(self._judged(result, until) for result in batch.results))
        return batch.with_results(results, "check", began)

    async def verdicts(self, svg: str, texts: Sequence[str], until: float = math.inf) -> list[Judged]:
        """Of each text about that drawing, a sanitized one.

        Raises:
            Unjudged: they could not be had, or not in time.
        """
        loop = asyncio.get_running_loop()
        limit_s = min(self._timeout_s, max(0.0, until - loop.time()))
        try:
            async with asyncio.timeout(limit_s):
                return await loop.run_in_executor(self._threads, self._ask, svg, texts)
        except TimeoutError:
            raise Unjudged(f"there was no verdict after {limit_s:.3g} s, the limit") from None
        except Exception as error:
            log.warning("captions were not checked: %s: %s", type(error).__name__, error)
            raise Unjudged("the drawing cannot be judged") from error

    async def _judged(self, result: Captioned | SvgCaptionError, until: float) -> Captioned | SvgCaptionError:
        if not isinstance(result, Captioned):
            return result
        try:
            texts = [made.text for made in result.generations]
            return replace(result, judged=await self.verdicts(result.drawing.svg, texts, until))
        except Unjudged as error:  # a caption must not be lost for its claims
            return result.warned(f"The captions were not checked: {error}.")

    def _ask(self, svg: str, texts: Sequence[str]) -> list[Judged]:
        if self._worker is None or self._worker.exit_status is not None:
            self._worker = Worker("faithfulness.worker", str(self._memory_mib))
        reply, _ = self._worker.ask(
            {"captions": texts}, svg.encode(), timeout_s=self._timeout_s, max_bytes=_MOST_REPLY_BYTES
        )
        if "problem" in reply:
            raise ValueError(reply["problem"])
        return [
            Judged(
                [ClaimVerdict(text=text[one["start"] : one["end"]], **one) for one in found["claims"]],
                found["faults"],
            )
            for text, found in zip(texts, reply["captions"], strict=True)
        ]
