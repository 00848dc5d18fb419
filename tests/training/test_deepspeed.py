"""DeepSpeed's ZeRO-2 beside plain data parallelism: in this process alone, and on two workers of Ray.

DeepSpeed is an extra; without it only what is said about that is tested.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from accelerate.state import AcceleratorState

from captioning.errors import ConfigError
from tests.training.helpers import (
    DyingStore,
    Interrupted,
    examples,
    fresh_accelerator,
    loop_for,
    recipe_for,
    write_splits,
)
from training import model
from training.checkpoints import CheckpointFolder
from training.loop import Loop
from training.preflight import dry_run
from training.progress import MetricsLog
from training.recipe import Recipe, load_recipe, notes
from training.run import RunResult, train
from training.updates import check_installed, make_updates

pytestmark = [
    pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU:UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),  # Ray's own settings, by Ray itself
]
needs_deepspeed = pytest.mark.skipif(find_spec("deepspeed") is None, reason="DeepSpeed is not installed")


@pytest.mark.parametrize("preset", ["test1", "test2"])
def test_a_missing_library_is_said_with_the_way_out(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    with pytest.raises(ConfigError) as error:
        dry_run(load_recipe(preset))
    assert "pip install 'deepspeed>=" in str(error.value)
    assert "deepspeed=null" in str(error.value)
    assert "\n" not in str(error.value)


def test_without_the_section_no_library_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    check_installed(load_recipe("test1", ["deepspeed=null"]))


def test_a_version_that_hides_bad_gradients_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deepspeed").mkdir()
    (tmp_path / "deepspeed" / "__init__.py").touch()
    (tmp_path / "deepspeed-0.18.9.dist-info").mkdir()
    (tmp_path / "deepspeed-0.18.9.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: deepspeed\nVersion: 0.18.9\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"deepspeed 0\.18\.9 hides gradients that are not finite"):
        check_installed(load_recipe("test1"))


def test_what_it_does_to_the_optimizer_is_said_before_a_run() -> None:
    said = notes(load_recipe("test1"))
    assert any("12 bytes" in note for note in said)
    assert any("AdamW with 32-bit state in CPU memory, not paged_adamw_8bit" in note for note in said)
    assert notes(load_recipe("test1", ["deepspeed=null"])) == []


# Of the only worker, as Ray Train says it; what is not set here Accelerate would set, for ever.
PLACE = {
    "RANK": "0",
    "LOCAL_RANK": "0",
    "WORLD_SIZE": "1",
    "LOCAL_WORLD_SIZE": "1",
    "MASTER_PORT": "29500",
    "ACCELERATE_TORCH_DEVICE": "cpu",
}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A process group of this process alone; the folder is where DeepSpeed would put what it compiles."""
    compiled = tmp_path_factory.mktemp("compiled")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in PLACE.items():
            patch.setenv(name, value)
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("TORCH_EXTENSIONS_DIR", str(compiled))
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{compiled}.group", rank=0, world_size=1
        )
        yield compiled
        AcceleratorState._reset_state(reset_partial_state=True)
        torch.distributed.destroy_process_group()


def _loop(folder: Path, store: Path, **changes: Any) -> Loop:
    settings: dict[str, Any] = {
        "accumulation": 2,
        "batch_size": 2,
        "activation_checkpointing": True,
        "validation": {"every_steps": 2, "captions": 0},
        "checkpoints": {"every_steps": 2},
        "deepspeed": {},
    }
    splits = examples(folder, 16, seed=1), examples(folder, 4, seed=2)
    return loop_for(recipe_for(folder, **settings | changes), *splits, CheckpointFolder(store, keep=9))


def _numbers(path: Path, key: str) -> list[float]:
    events = [json.loads(line) for line in path.read_text().splitlines()]
    return [event[key] for event in events if key in event]


ADAMW = {"name": "adamw", "learning_rate": 3e-3}
EIGHT_BITS = {"name": "paged_adamw_8bit", "learning_rate": 3e-3}


@needs_deepspeed
@pytest.mark.parametrize(("architecture", "offload"), [("tiny_llama", True), ("tiny_gemma2", False)])
def test_it_learns_as_data_parallelism_does(
    architecture: str, offload: bool, alone: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(architecture)
    sections = {"plain": None, "zero": {"offload_optimizer": offload}}
    loops = {
        name: _loop(folder, tmp_path / name, deepspeed=section, optimizer=ADAMW)
        for name, section in sections.items()
    }
    outcomes = {name: loop.run(MetricsLog(tmp_path / f"{name}.jsonl")) for name, loop in loops.items()}
    assert outcomes["zero"].status == "completed"
    assert outcomes["zero"].progress.best_loss < outcomes["zero"].progress.first_loss - 0.5
    for key in ("loss", "grad_norm"):
        zero, plain = (_numbers(tmp_path / f"{name}.jsonl", key) for name in ("zero", "plain"))
        assert zero == pytest.approx(plain, rel=1e-4)
    for zero, plain in zip(*(model.trainable(loop._module).values() for loop in loops.values()), strict=True):
        torch.testing.assert_close(zero, plain, rtol=1e-3, atol=1e-5)
    assert list(alone.iterdir()) == []


@needs_deepspeed
@pytest.mark.parametrize("offload", [True, False])
def test_a_resumed_run_repeats_the_undisturbed_one(
    offload: bool, alone: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    settings = {"deepspeed": {"offload_optimizer": offload}, "optimizer": EIGHT_BITS}
    whole = _loop(tiny_llama, tmp_path / "whole", **settings)
    expected = whole.run(MetricsLog(tmp_path / "whole.jsonl"))

    broken = _loop(tiny_llama, tmp_path / "broken", **settings)
    broken._store = DyingStore(tmp_path / "broken", die_after_step=2)
    with pytest.raises(Interrupted):
        broken.run(MetricsLog(tmp_path / "broken.jsonl"))
    resumed = _loop(tiny_llama, tmp_path / "broken", **settings)
    resumed.resume()
    assert resumed.progress.step == 2
    assert resumed.run(MetricsLog(tmp_path / "broken.jsonl", resumed_at=2)) == expected
    for key in ("loss", "grad_norm"):
        assert _numbers(tmp_path / "broken.jsonl", key) == _numbers(tmp_path / "whole.jsonl", key)
    assert model.checksum(model.trainable(resumed._module)) == model.checksum(model.trainable(whole._module))


@needs_deepspeed
@pytest.mark.parametrize("offload", [True, False])
def test_a_gradient_that_is_not_finite_is_noticed_before_a_weight_changes(
    offload: bool, alone: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    loop = _loop(tiny_llama, tmp_path, deepspeed={"offload_optimizer": offload})
    weights = model.trainable(loop._module)
    next(iter(weights.values())).register_hook(lambda gradient: gradient * float("nan"))
    before = model.checksum(weights)
    outcome = loop.run()
    assert (outcome.status, outcome.progress.step) == ("failed", 0)
    assert "gradient norm" in (outcome.diagnosis or "")
    assert "learning rate that is too high" in (outcome.diagnosis or "")
    assert model.checksum(weights) == before


class HalfUsed(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1, bias=False)

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.used(numbers)
        return out


@needs_deepspeed
@pytest.mark.parametrize("section", [None, {}, {"offload_optimizer": False}])
def test_a_weight_that_takes_no_part_is_named(
    section: dict[str, bool] | None, alone: Path, tiny_llama: Path
) -> None:
    recipe = recipe_for(tiny_llama, deepspeed=section, precision="fp32")
    updates = make_updates(recipe, HalfUsed(), fresh_accelerator(recipe))
    with updates.training_pass(last=True):
        updates.backward(updates.model(torch.ones(3, 2)).sum())
    assert updates.gradient_norm() == pytest.approx(27**0.5)  # of (3, 3) and 3
    assert updates.without_gradient() == ["unused.weight"]


@pytest.fixture(scope="module")
def two_cpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Ray whose workers would leave what they compile in this folder."""
    compiled, folder = tmp_path_factory.mktemp("compiled"), tempfile.mkdtemp(prefix="r", dir="/tmp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_EXTENSIONS_DIR", str(compiled))
        ray.init(
            address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
            object_store_memory=100_000_000, _temp_dir=folder, _system_config={"worker_niceness": 0},
        )  # fmt: skip
        yield compiled
        ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


def _preset(name: str, folder: Path, corpus: dict[str, str], *more: str) -> Recipe:
    words = {
        "model": folder,
        "corpus.train": corpus["train"],
        "corpus.validation": corpus["validation"],
        "max_steps": 4,
        "optimizer.learning_rate": 3e-3,  # few steps must show
        "validation.every_steps": 2,
        "checkpoints.every_steps": 2,
        "resources.cpus_per_worker": 0.5,
        "resources.device": "cpu",
    }
    return load_recipe(name, [*(f"{key}={value}" for key, value in words.items()), *more])


def _train(recipe: Recipe, name: str, home: Path) -> RunResult:
    return train(recipe, name=name, runs_dir=home / "runs", adapters_dir=home / "adapters")


def _forget_the_end(run: Path) -> None:
    """As if the run had been killed after step 2."""
    shutil.rmtree(run / "checkpoint-000004")
    shutil.rmtree(run / "adapter")
    (run / "result.json").unlink()


@needs_deepspeed
@pytest.mark.ray
@pytest.mark.parametrize(
    ("preset", "architecture"),
    [
        ("test2", "tiny_llama"),
        pytest.param("test2", "tiny_gemma2", marks=pytest.mark.slow),
        pytest.param("test1", "tiny_llama", marks=pytest.mark.slow),
        pytest.param("test1", "tiny_gemma2", marks=pytest.mark.slow),
    ],
)
def test_the_presets_run_as_designed_and_across_an_interruption(
    preset: str, architecture: str, two_cpus: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder, corpus = request.getfixturevalue(architecture), write_splits(tmp_path, train=96)
    recipe = _preset(preset, folder, corpus)
    plain = _train(
        _preset(preset, folder, corpus, "deepspeed=null", "optimizer.name=adamw"), "plain", tmp_path
    )
    zero = _train(recipe, "zero", tmp_path)
    run, workers = zero.adapter.parent, recipe.resources.workers
    assert (zero.status, zero.steps) == ("completed", 4)
    losses = _numbers(run / "metrics.jsonl", "loss")
    assert losses == pytest.approx(_numbers(plain.adapter.parent / "metrics.jsonl", "loss"), rel=1e-4)
    assert list(two_cpus.iterdir()) == []

    parts = torch.load(run / "checkpoint-000002" / "optimizer.pt")["parts"]
    assert len({part["state"][0]["exp_avg"].numel() for part in parts}) == 1
    assert len({part["state"][0]["exp_avg"].sum().item() for part in parts}) == workers

    weights = (zero.adapter / "adapter_model.safetensors").read_bytes()
    _forget_the_end(run)
    _train(recipe, "zero", tmp_path)
    starts = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [event["step"] for event in starts if event["event"] == "start"] == [0, 2]
    assert _numbers(run / "metrics.jsonl", "loss") == losses
    assert (zero.adapter / "adapter_model.safetensors").read_bytes() == weights

    with pytest.raises(ConfigError, match=f"resources.workers was {workers}, is 3"):
        _train(_preset(preset, folder, corpus, "resources.workers=3"), "zero", tmp_path)
