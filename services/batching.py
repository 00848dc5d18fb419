"""Dynamic batching: what arrives while a batch is in work becomes the next batch.

Nothing waits for company: a lone request starts at once. Knows neither models nor Ray.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

Request = TypeVar("Request")
Result = TypeVar("Result")


class Batcher(Generic[Request, Result]):
    """Feeds `run`, which blocks, on `executor` with at most `max_batch_size` requests at a time.

    `run` answers every request of its batch, in order; an error of one request is a result like any
    other. Whatever `run` raises is raised for each request of the batch. A request whose caller has
    gone away before its batch begins is dropped.
    """

    def __init__(
        self, run: Callable[[list[Request]], Sequence[Result]], *, max_batch_size: int, executor: Executor
    ) -> None:
        self._run = run
        self._max_batch_size = max_batch_size
        self._executor = executor
        self._waiting: deque[tuple[Request, asyncio.Future[Result]]] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def submit(self, requests: Sequence[Request]) -> list[Result]:
        """One result per request, in order."""
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Result]] = [loop.create_future() for _ in requests]
        self._waiting.extend(zip(requests, futures, strict=True))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await asyncio.gather(*futures)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._next_batch():
            try:
                results = await loop.run_in_executor(
                    self._executor, self._run, [request for request, _ in batch]
                )
            except Exception as error:  # noqa: BLE001 - handed to every caller of this batch
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)

    def _next_batch(self) -> list[tuple[Request, asyncio.Future[Result]]]:
        batch: list[tuple[Request, asyncio.Future[Result]]] = []
        while self._waiting and len(batch) < self._max_batch_size:
            entry = self._waiting.popleft()
            if not entry[1].done():  # done before its time: cancelled
                batch.append(entry)
        return batch
