"""Where a run stands: the step, the validation losses that matter, and the log of its metrics."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captioning.atomic import append

_log = logging.getLogger(__name__)

Sink = Callable[[str, int, Mapping[str, Any]], None]  # event, step, values


@dataclass
class Progress:
    """Losses are nats per token of the validation split."""

    step: int = 0  # optimizer steps done
    first_loss: float = math.inf  # before the first step
    last_loss: float = math.inf
    best_loss: float = math.inf
    best_step: int = 0
    reference_loss: float = math.inf  # early stopping counts from the last gain of min_delta or more
    reference_step: int = 0

    def observe(self, loss: float, min_delta: float) -> bool:
        """Take note of a validation loss; whether it is the best so far."""
        if self.step == 0:
            self.first_loss = loss
        self.last_loss = loss
        if loss < self.reference_loss - min_delta:
            self.reference_loss, self.reference_step = loss, self.step
        improved = loss < self.best_loss
        if improved:
            self.best_loss, self.best_step = loss, self.step
        return improved

    @property
    def steps_without_gain(self) -> int:
        return self.step - self.reference_step


class MetricsLog:
    """One JSON object per line, written by one worker. A resumed run drops the lines it will write again.

    A full disk does not end a run here (its next checkpoint does, in an orderly way): lines that could
    not be written are written with the next one.
    """

    def __init__(self, path: Path | None, *, resumed_at: int = 0, sink: Sink | None = None) -> None:
        self._path = path
        self._sink = sink
        self._waiting = b""
        if path and path.exists():
            kept = [
                line for line in path.read_text(encoding="utf-8").splitlines() if _step(line) <= resumed_at
            ]
            shortened = path.with_suffix(".partial")
            shortened.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
            shortened.rename(path)

    def write(self, event: str, step: int, **values: Any) -> None:
        if self._path is None:
            return
        line = json.dumps({"event": event, "step": step, **values}, ensure_ascii=False) + "\n"
        self._waiting += line.encode()
        try:
            with self._path.open("ab", buffering=0) as file:
                append(file, self._waiting)
            self._waiting = b""
        except OSError as error:
            _log.warning("%s could not be written: %s", self._path, error)
        if self._sink:
            self._sink(event, step, values)


def _step(line: str) -> float:
    """The step of a log line; a line that a kill cut short counts as the future."""
    try:
        return int(json.loads(line)["step"])
    except ValueError:
        return math.inf
