"""Where a run stands: the step, the validation losses that matter, and its checkpoint folder.

A checkpoint is resumable state, never an adapter. There is no scheduler, sampler or random state in
it: learning rate, batches and dropout all follow from seed and step number.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from safetensors.torch import load_file, save_file

from training.model import Tensors

_PROGRESS, _ADAPTER, _BEST, _OPTIMIZER = (
    "progress.json",
    "adapter.safetensors",
    "best.safetensors",
    "optimizer.pt",
)


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


@dataclass(frozen=True)
class Checkpoint:
    progress: Progress
    adapter: Tensors
    best: Tensors  # in every checkpoint, so that keeping the last ones keeps the best adapter
    optimizer: dict[str, Any]

    def write(self, folder: Path) -> None:
        save_file(self.adapter, folder / _ADAPTER)
        save_file(self.best, folder / _BEST)
        torch.save(self.optimizer, folder / _OPTIMIZER)
        (folder / _PROGRESS).write_text(json.dumps(asdict(self.progress), indent=1), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path, device: torch.device) -> Self:
        progress = Progress(**json.loads((folder / _PROGRESS).read_text(encoding="utf-8")))
        optimizer = torch.load(folder / _OPTIMIZER, map_location=device, weights_only=True)
        return cls(progress, load_file(folder / _ADAPTER), load_file(folder / _BEST), optimizer)


def read_best(folder: Path) -> Tensors:
    return load_file(folder / _BEST)


class CheckpointStore(Protocol):
    """Where checkpoints go. All workers call `save` at the same steps; one of them writes."""

    def latest(self) -> AbstractContextManager[Path | None]: ...

    def save(self, write: Callable[[Path], None], progress: Progress) -> None: ...


class MetricsLog:
    """One JSON object per line, written by one worker. A resumed run drops the lines it will write again."""

    def __init__(self, path: Path | None, *, resumed_at: int = 0) -> None:
        self._path = path
        if path and path.exists():
            kept = [
                line for line in path.read_text(encoding="utf-8").splitlines() if _step(line) <= resumed_at
            ]
            path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def write(self, event: str, step: int, **values: Any) -> None:
        if self._path:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"event": event, "step": step, **values}) + "\n")


def _step(line: str) -> float:
    """The step of a log line; a line that a kill cut short counts as the future."""
    try:
        return int(json.loads(line)["step"])
    except ValueError:
        return math.inf
