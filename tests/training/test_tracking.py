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
    log = MetricsLog(folder / "metrics.jsonl", sink=tracking.start(accelerator, recipe, folder))
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


def test_a_restarted_run_goes_on_and_a_new_one_of_its_name_does_not(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    recipe = recipe_for(tiny_llama, tracking=["wandb"])
    accelerator = make_accelerator(recipe, "cpu", tmp_path)
    monkeypatch.setattr(
        accelerator, "init_trackers", lambda *_, init_kwargs, **__: begun.append(init_kwargs["wandb"]["id"])
    )
    for folder in (tmp_path / "a" / "run", tmp_path / "a" / "run", tmp_path / "b" / "run"):
        folder.mkdir(parents=True, exist_ok=True)
        tracking.start(accelerator, recipe, folder)
    assert begun[0] == begun[1] != begun[2]
    assert all(name.startswith("run-") for name in begun)


def test_a_tracker_that_is_away_ends_no_run(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: object, **__: object) -> None:
        raise ConnectionError("no route to the server")

    recipe = recipe_for(tiny_llama, tracking=["tensorboard"])
    accelerator = make_accelerator(recipe, "cpu", tmp_path)
    sink = tracking.start(accelerator, recipe, tmp_path)
    monkeypatch.setattr(accelerator, "log", away)
    MetricsLog(tmp_path / "metrics.jsonl", sink=sink).write("step", 3, **STEP)
    assert "tensorboard did not take the numbers of step 3: no route to the server" in caplog.text


def test_a_tracker_hears_of_numbers_only(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_for(tiny_llama, tracking=["tensorboard"])
    accelerator = make_accelerator(recipe, "cpu", tmp_path)
    sink = tracking.start(accelerator, recipe, tmp_path)
    heard: list[tuple[dict[str, float], int]] = []
    monkeypatch.setattr(accelerator, "log", lambda numbers, step: heard.append((numbers, step)))
    log = MetricsLog(tmp_path / "metrics.jsonl", sink=sink)
    log.write("captions", 3, captions=["A red circle."])
    log.write("step", 4, **STEP)
    assert heard == [({"step/loss": 1.5, "step/grad_norm": 0.25}, 4)]


def test_a_tracker_whose_library_is_missing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.tracking.find_spec", lambda module: None)
    with pytest.raises(ConfigError, match="tracking=mlflow needs its library: pip install mlflow"):
        tracking.check_installed(("mlflow",))
