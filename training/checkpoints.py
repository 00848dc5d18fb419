"""A run's checkpoints: written whole or not at all, checked when read, the last few kept.

A checkpoint is resumable state, never an adapter. There is no scheduler, sampler or random state in
it: learning rate, batches and dropout all follow from seed and step number.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load_file, save_file

from training.model import Tensors
from training.progress import Progress

_PROGRESS, _ADAPTER, _BEST, _OPTIMIZER = (
    "progress.json",
    "adapter.safetensors",
    "best.safetensors",
    "optimizer.pt",
)
_CHECKSUMS = "checksums.json"  # written last: what has none was cut short


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
    """The best adapter so far, which every checkpoint carries."""
    return load_file(folder / _BEST)


class CheckpointFolder:
    """The checkpoints in a run's folder. One worker writes; the folder is on storage that all share."""

    def __init__(self, folder: Path, *, keep: int) -> None:
        self._folder = folder
        self._keep = keep

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, then delete those that are older than the last `keep`.

        Those of later steps are deleted too: the run has gone back behind them, for they were damaged.

        Raises:
            OSError: it could not be written (no space, say); those before it are as they were.
        """
        target = self._folder / f"checkpoint-{checkpoint.progress.step:06d}"
        partial = self._folder / f".{target.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir(parents=True)
            checkpoint.write(partial)
            _seal(partial)
            shutil.rmtree(target, ignore_errors=True)  # of a step that is repeated
            partial.rename(target)
        except Exception as error:
            shutil.rmtree(partial, ignore_errors=True)
            if isinstance(error, OSError):
                raise
            # safetensors and torch report a full disk as errors of their own
            raise OSError(f"'{target}' could not be written: {error}") from error
        _sync(self._folder)  # the name is on the disk before what it makes needless goes
        steps = self._newest_first()
        newer = [folder for folder in steps if _step(folder) > checkpoint.progress.step]
        for folder in (*newer, *steps[len(newer) + self._keep :]):
            shutil.rmtree(folder, ignore_errors=True)

    def latest(self) -> Path | None:
        """The newest checkpoint that is whole."""
        return self.look()[0]

    def look(self) -> tuple[Path | None, list[str]]:
        """The newest checkpoint that is whole, and what is wrong with each that is newer."""
        passed_over: list[str] = []
        for folder in self._newest_first():
            damage = next(_damage(folder), None)
            if damage is None:
                return folder, passed_over
            passed_over.append(f"{folder}: {damage}")
        return None, passed_over

    def _newest_first(self) -> list[Path]:
        ours = (path for path in self._folder.glob("checkpoint-*") if _step_digits(path).isdecimal())
        return sorted(ours, key=_step, reverse=True)


def _step(folder: Path) -> int:
    return int(_step_digits(folder))


def _step_digits(folder: Path) -> str:
    return folder.name.removeprefix("checkpoint-")


def _seal(folder: Path) -> None:
    """Add the checksums, and have everything on the disk before the folder gets its name."""
    paths = sorted(folder.iterdir())
    sums = {path.name: _checksum(path) for path in paths}
    (folder / _CHECKSUMS).write_text(json.dumps(sums, indent=1), encoding="utf-8")
    for path in (*paths, folder / _CHECKSUMS, folder):
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _damage(folder: Path) -> Iterator[str]:
    try:
        sums = json.loads((folder / _CHECKSUMS).read_text(encoding="utf-8"))
        for name, expected in sums.items():
            if _checksum(folder / name) != expected:
                yield f"{name} is not what was written"
    except (OSError, ValueError, AttributeError) as error:
        yield str(error)


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
