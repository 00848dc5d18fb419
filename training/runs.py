"""What a run's folder says, whether the run has ended, failed or still goes on. Loads no model library."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from captioning.errors import ConfigError
from training.curve import Point
from training.recipe import flat

_RECIPE, _IDENTITY, _METRICS, _RESULT = "recipe.yaml", "identity.json", "metrics.jsonl", "result.json"
_FAILED_STEP = "failed_step.json"

Event = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A run as it is on disk; its folder's name is its own."""

    folder: Path
    recipe: dict[str, Any]  # resolved and unfolded: {"lora.r": 8}
    identity: dict[str, str]  # hashes of what went in, by what it is
    events: list[Event]  # lines of the metrics log
    result: dict[str, Any] | None  # None until the run has ended well

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def steps(self) -> list[Event]:
        return self._of("step")

    @cached_property
    def validations(self) -> list[Event]:
        return self._of("validation")

    @property
    def seconds(self) -> float:
        """Of steps and validations, over all restarts."""
        return float(sum(event.get("seconds", 0.0) for event in (*self.steps, *self.validations)))

    @property
    def training_losses(self) -> list[Point]:
        return [(event["step"], event["loss"]) for event in self.steps]

    @property
    def validation_losses(self) -> list[Point]:
        return [(event["step"], event["loss"]) for event in self.validations]

    @property
    def status(self) -> str:
        """In words: how the run ended, or that it has not."""
        if self.result:
            return str(self.result["status"]).replace("_", " ")
        last = self.events[-1] if self.events else {}
        if last.get("event") == "stopped":
            return str(last.get("status", "stopped")).replace("_", " ")
        if any(_is_alive(worker) for worker in self._workers):
            return "running"
        return "failed" if (self.folder / _FAILED_STEP).exists() else "unfinished"

    @property
    def diagnosis(self) -> str | None:
        """Why the run was stopped, where that is on record."""
        last = self.events[-1] if self.events and not self.result else {}
        reason = last.get("diagnosis") if last.get("event") == "stopped" else None
        return str(reason) if reason else None

    @property
    def _workers(self) -> list[dict[str, Any]]:
        starts = self._of("start")
        return list(starts[-1].get("workers", ())) if starts else []

    def _of(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.get("event") == kind]


def read_run(folder: Path) -> Run:
    """Raises ConfigError where there is no run, or one whose files cannot be read."""
    if not (folder / _RECIPE).is_file():
        raise ConfigError(f"'{folder}' is no run: it holds no {_RECIPE}")
    try:
        recipe = yaml.safe_load((folder / _RECIPE).read_text(encoding="utf-8"))
        identity, result = (_json(folder / name) for name in (_IDENTITY, _RESULT))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"run '{folder}' cannot be read: {error}") from error
    return Run(folder, flat(recipe), identity or {}, _events(folder / _METRICS), result)


def find_run(name_or_folder: str, runs_dir: Path) -> Run:
    """The run in that folder, or of that name among the runs."""
    for folder in (Path(name_or_folder), runs_dir / name_or_folder):
        if (folder / _RECIPE).is_file():
            return read_run(folder.resolve())
    known = sorted(path.parent.name for path in runs_dir.glob(f"*/{_RECIPE}"))
    raise ConfigError(f"no run '{name_or_folder}'. In '{runs_dir}': {', '.join(known) or 'none'}.")


def _json(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _events(path: Path) -> list[Event]:
    """Whole lines; one that is being written, or that a kill cut short, is left out."""
    events = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            events.append(json.loads(line))
        except ValueError:
            continue
    return events


def _is_alive(worker: dict[str, Any]) -> bool:
    """Whether a worker's process runs on this machine; of another machine nothing is known."""
    if worker.get("host") != socket.gethostname():
        return False
    try:
        os.kill(int(worker["pid"]), 0)  # signal 0: only asks
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
