"""How far a bulk run is, on standard error: a bar on a terminal, elsewhere now and then a line."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_LINE_EVERY_S = 10.0


class Advance(Protocol):
    def __call__(self, *, failed: bool = False) -> None:
        """One file more is done."""


@contextmanager
def progress(files: Iterable[object]) -> Iterator[Advance]:
    """Counts the files, then shows how many of them are done for as long as the block lasts."""
    total = sum(1 for _ in files)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        yield _Lines(console, total)
        return
    columns = (MofNCompleteColumn(), BarColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console) as bar:
        yield _Bar(bar, total)


class _Lines:
    def __init__(self, console: Console, total: int) -> None:
        self._console, self._total = console, total
        self._done = self._failed = 0
        self._began = self._shown = time.monotonic()

    def __call__(self, *, failed: bool = False) -> None:
        self._done += 1
        self._failed += failed
        now = time.monotonic()
        if self._done == self._total or now - self._shown >= _LINE_EVERY_S:
            self._shown = now
            rate = self._done / max(now - self._began, 1e-9)
            self._console.print(
                f"{self._done:,} of {self._total:,} files, {self._failed:,} failed, {rate:.1f} files/s"
            )


class _Bar:
    def __init__(self, bar: Progress, total: int) -> None:
        self._bar = bar
        self._failed = 0
        self._task = bar.add_task("", total=total)

    def __call__(self, *, failed: bool = False) -> None:
        self._failed += failed
        self._bar.update(self._task, advance=1, description=f"{self._failed:,} failed" * bool(self._failed))
