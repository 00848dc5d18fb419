"""Shows a run's progress while it trains: its metrics log, for people, on standard error.

On a terminal a bar shows the last step; elsewhere every tenth step is a line.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

_POLL_S = 0.5
_EVERY_STEPS = 10


@contextmanager
def following(path: Path, total_steps: int) -> Iterator[None]:
    """Lines that are added to `path` during the block are shown as they come."""
    stop = threading.Event()
    position = path.stat().st_size if path.exists() else 0
    with _shown(total_steps) as show:
        thread = threading.Thread(target=_follow, args=(path, position, show, stop), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def _follow(path: Path, position: int, show: _Lines | _Bar, stop: threading.Event) -> None:
    last = False
    while not last:
        last = stop.wait(_POLL_S)  # once more after the end
        if not path.exists():
            continue
        position = min(position, path.stat().st_size)  # a resumed run shortens its log
        with path.open("rb") as file:
            file.seek(position)
            *lines, unfinished = file.read().split(b"\n")
            position = file.tell() - len(unfinished)
        for line in lines:
            with suppress(ValueError):  # the end of a line, where a resumed run has shortened its log
                show.event(json.loads(line))


@contextmanager
def _shown(total_steps: int) -> Iterator[_Lines | _Bar]:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        yield _Lines(total_steps)
        return
    columns = (TextColumn("step {task.completed}/{task.total}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=console) as bar:
        yield _Bar(bar, total_steps)


class _Lines:
    def __init__(self, total_steps: int) -> None:
        self._total_steps = total_steps

    def event(self, event: dict[str, Any]) -> None:
        if event["event"] != "step" or event["step"] % _EVERY_STEPS == 0:
            for line in describe(event, self._total_steps):
                print(line, file=sys.stderr, flush=True)


class _Bar:
    def __init__(self, bar: Progress, total_steps: int) -> None:
        self._bar = bar
        self._total_steps = total_steps
        self._task = bar.add_task("", total=total_steps)

    def event(self, event: dict[str, Any]) -> None:
        self._bar.update(self._task, completed=event["step"])
        if event["event"] == "step":
            self._bar.update(self._task, description=_numbers(event))
            return
        for line in describe(event, self._total_steps):
            self._bar.console.print(line, markup=False)


def describe(event: dict[str, Any], total_steps: int) -> list[str]:
    """A line of the log in words."""
    place = f"step {event['step']}/{total_steps}"
    match event["event"]:
        case "start":
            how = "go on from a checkpoint" if event["step"] else "start"
            device = "GPU" if event["device"] == "cuda" else "CPU"
            damaged = [f"passed over, for it is damaged: {words}" for words in event["passed_over"]]
            return [*damaged, f"{place}: {len(event['workers'])} worker(s) {how} on {device}"]
        case "step":
            return [f"{place}: {_numbers(event)}"]
        case "validation":
            return [f"{place}: validation loss {event['loss']:.4f} (best {event['best']:.4f})"]
        case "captions":
            return [f"  {shown['caption']!r} for {shown['reference']!r}" for shown in event["captions"]]
    return []


def _numbers(event: dict[str, Any]) -> str:
    parts = [
        f"loss {event['loss']:.4f}",
        f"gradient norm {event['grad_norm']:.3f}",
        f"{event['tokens_per_s']:,.0f} tokens/s",
    ]
    if "mfu" in event:
        parts.append(f"MFU {event['mfu']:.1%}")
    if "gpu_memory_gib" in event:
        parts.append(f"{event['gpu_memory_gib']:.1f} GiB")
    return ", ".join(parts)
