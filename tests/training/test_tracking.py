from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from accelerate.state import AcceleratorState
from tensorboardX.proto.event_pb2 import Event

from captioning.errors import ConfigError
from tests.training.helpers import recipe_for
from training import tracking
from training.progress import MetricsLog
from training.worker import make_accelerator

STEP: dict[str, Any] = {"loss": 1.5, "grad_norm": 0.25, "samples": ["not a number"]}


@pytest.fixture(autouse=True)
def _one_accelerator_per_test() -> Iterator[None]:
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def _track(tracker: str, model: Path, folder: Path) -> None:
    recipe = recipe_for(model, tracking=[tracker])
    accelerator = make_accelerator(recipe, "cpu", folder)
    log = MetricsLog(folder / "metrics.jsonl", sink=tracking.start(accelerator, recipe, folder.name))
    for step in (1, 2):
        log.write("step", step, **STEP)
    log.write("validation", 2, loss=1.25)
    accelerator.end_training()


def _scalars(folder: Path) -> list[tuple[str, int, float]]:
    """What a TensorBoard event file holds: records of a length, its checksum, an event and its checksum."""
    found = []
    for path in sorted(folder.rglob("events.out.tfevents*")):
        data, place = path.read_bytes(), 0
        while place < len(data):
            (length,) = struct.unpack_from("<Q", data, place)
            event = Event.FromString(data[place + 12 : place + 12 + length])
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
            place += length + 16
    return found


def test_tensorboard_gets_every_number(tiny_llama: Path, tmp_path: Path) -> None:
    _track("tensorboard", tiny_llama, tmp_path)
    assert set(_scalars(tmp_path)) >= {
        ("step/loss", 1, 1.5),
        ("step/loss", 2, 1.5),
        ("step/grad_norm", 2, 0.25),
        ("validation/loss", 2, 1.25),
    }


def test_wandb_works_offline(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    _track("wandb", tiny_llama, tmp_path)
    [written] = tmp_path.rglob("run-*.wandb")
    expected = (b"step/grad_norm", b"validation/loss")
    deadline = time.monotonic() + 60  # a process of wandb's own writes the file, when it gets to it
    while not all(name in written.read_bytes() for name in expected) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert all(name in written.read_bytes() for name in expected)


def test_a_tracker_whose_library_is_missing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.tracking.find_spec", lambda module: None)
    with pytest.raises(ConfigError, match="tracking=mlflow needs its library: pip install mlflow"):
        tracking.check_installed(("mlflow",))
