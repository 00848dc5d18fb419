"""Shows a run's progress while it trains: its metrics log, as lines for people on standard error."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_POLL_S = 0.5
_EVERY_STEPS = 10


@contextmanager
def following(path: Path, total_steps: int) -> Iterator[None]:
    """Lines that are added to `path` during the block are shown as they come."""
    stop = threading.Event()
    position = path.stat().st_size if path.exists() else 0
    thread = threading.Thread(target=_follow, args=(path, position, total_steps, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _follow(path: Path, position: int, total_steps: int, stop: threading.Event) -> None:
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
            if text := describe(json.loads(line), total_steps):
                print(text, file=sys.stderr, flush=True)


def describe(event: dict[str, Any], total_steps: int) -> str | None:
    """A log line in words; None for the steps between."""
    step = event["step"]
    place = f"step {step}/{total_steps}"
    if event["event"] == "start":
        return f"{place}: {len(event['workers'])} worker(s) {'go on from a checkpoint' if step else 'start'}"
    if event["event"] == "validation":
        return f"{place}: validation loss {event['loss']:.4f} (best {event['best']:.4f})"
    if event["event"] == "step" and step % _EVERY_STEPS == 0:
        return (
            f"{place}: loss {event['loss']:.4f}, gradient norm {event['grad_norm']:.3f}, "
            f"{event['seconds']:.2f} s per step"
        )
    return None
