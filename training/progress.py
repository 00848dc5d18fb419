"""Where a run stands: the step, the validation losses that matter, and the log of its metrics."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captioning.atomic import append, replacing_file

_log = logging.getLogger(__name__)

_OF_AN_ATTEMPT = frozenset(("start", "stopped"))  # events that belong to no step

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
            kept = [line for line in path.read_bytes().split(b"\n") if _is_kept(line, resumed_at)]
            with replacing_file(path) as shortened:
                shortened.write_bytes(b"".join(line + b"\n" for line in kept))

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


def _is_kept(line: bytes, resumed_at: int) -> bool:
    """Whether a run that goes on from that step will not write the line again.

    One that begins again validates again; a line that a kill cut short tells nothing.
    """
    try:
        event = json.loads(line)
    except ValueError:
        return False
    return event["step"] <= resumed_at and (resumed_at > 0 or event["event"] in _OF_AN_ATTEMPT)
