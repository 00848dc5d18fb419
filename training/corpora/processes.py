"""Work on many samples in several processes: in order, as a stream, with a bounded number under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import chain, islice
from multiprocessing import get_context
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_ALONE = 300  # so many are sooner done here than further processes have started
_WAITING_PER_WORKER = 4  # chunks; `Executor.map` would read the whole corpus into memory first


def spread(function: Callable[[T], R], items: Iterable[T], workers: int, *, chunk: int = 50) -> Iterator[R]:
    """`function` of each item, in the order of the items. The function must be importable by name, and goes
    to a worker with each `chunk` of items."""
    items = iter(items)
    first = list(islice(items, _ALONE + 1))
    if workers == 1 or len(first) <= _ALONE:
        yield from map(function, chain(first, items))
        return
    rest = chain(first, items)
    chunks = iter(lambda: list(islice(rest, chunk)), [])
    # Spawned: a fork of a process with threads (tokenizers, progress bars) can hang.
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        waiting: deque[Future[list[R]]] = deque()
        for some in chunks:
            waiting.append(pool.submit(_all, function, some))
            if len(waiting) > _WAITING_PER_WORKER * workers:
                yield from waiting.popleft().result()
        for future in waiting:
            yield from future.result()


def _all(function: Callable[[T], R], items: list[T]) -> list[R]:
    return [function(item) for item in items]
