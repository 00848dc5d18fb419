"""Runs on a real Ray, with worker processes: the driver, Ray Train, DDP, and what is exported."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from peft import PeftModel

from captioning.adapters import find_adapters, read_manifest
from captioning.base_models import load_model, resolve, weight_fingerprint
from captioning.errors import ConfigError
from tests.training.helpers import examples, fresh_accelerator, loop_for, recipe_for, write_splits
from training.data import collate
from training.errors import TrainingFailed
from training.loop import completion_loss
from training.recipe import Recipe, load_recipe
from training.run import RunResult, _locked, train

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),  # Ray's own settings, by Ray itself
]

TWO_WORKERS = {"workers": 2, "cpus_per_worker": 0.5, "device": "cpu"}


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")  # short: socket paths are limited
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100_000_000,
        _temp_dir=folder,
        _system_config={"worker_niceness": 0},  # Ray's 15 starves on a busy machine
    )
    yield
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_splits(tmp_path_factory.mktemp("corpus"))


def _recipe(model_folder: Path, corpus: dict[str, str], **changes: Any) -> Recipe:
    settings: dict[str, Any] = {
        "corpus": corpus,
        "epochs": 2,
        "validation": {"every_steps": 3},
        "checkpoints": {"every_steps": 2, "keep": 2},
        "resources": TWO_WORKERS,
    }
    return recipe_for(model_folder, **settings | changes)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def _train(recipe: Recipe, name: str, home: Path) -> RunResult:
    return train(recipe, name=name, runs_dir=home / "runs", adapters_dir=home / "adapters")


@pytest.fixture(scope="module")
def undisturbed(tiny_llama: Path, corpus: dict[str, str], home: Path) -> RunResult:
    return _train(_recipe(tiny_llama, corpus), "undisturbed", home)


def _events(run: Path, kind: str) -> list[dict[str, Any]]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def test_a_run_ends_with_a_better_adapter_where_services_look(
    undisturbed: RunResult, tiny_llama: Path, home: Path
) -> None:
    assert (undisturbed.status, undisturbed.steps) == ("completed", 12)
    assert undisturbed.validation_loss < undisturbed.validation_loss_before - 1
    assert find_adapters(home / "adapters") == {"undisturbed": home / "adapters" / "undisturbed"}
    manifest = read_manifest(undisturbed.adapter)
    assert manifest.base_fingerprint == weight_fingerprint(resolve(str(tiny_llama)))
    assert manifest.recipe["lora"]["r"] == 16
    assert manifest.metrics["validation_loss"] == undisturbed.validation_loss
    assert manifest.metrics["validation_loss_before"] == undisturbed.validation_loss_before
    assert manifest.corpus_fingerprint.startswith("sha256:")


def test_two_workers_see_the_validation_loss_that_one_sees(
    undisturbed: RunResult, tiny_llama: Path, corpus: dict[str, str], tmp_path: Path
) -> None:
    recipe = _recipe(tiny_llama, corpus, resources={"workers": 1})
    loop = loop_for(recipe, examples(tiny_llama, 48, seed=1), examples(tiny_llama, 12, seed=2), None)  # type: ignore[arg-type]
    assert loop.validation_loss() == pytest.approx(undisturbed.validation_loss_before, rel=1e-3)
    assert fresh_accelerator(recipe).num_processes == 1


def test_the_exported_adapter_is_the_best_one_and_loads_in_plain_peft(
    undisturbed: RunResult, tiny_llama: Path
) -> None:
    base = load_model(resolve(str(tiny_llama)), dtype=torch.bfloat16, quantization="nf4")
    adapted = PeftModel.from_pretrained(base, str(undisturbed.adapter))
    batch = collate(examples(tiny_llama, 12, seed=2))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        loss = completion_loss(adapted, batch).item() / batch.label_tokens
    assert loss == pytest.approx(undisturbed.validation_loss, rel=5e-3)


def test_the_last_checkpoints_are_kept_and_no_others(undisturbed: RunResult) -> None:
    run = undisturbed.adapter.parent
    assert {path.name for path in run.glob("checkpoint-*")} == {"checkpoint-000010", "checkpoint-000012"}
    identity = json.loads((run / "identity.json").read_text())
    assert load_recipe(str(run / "recipe.yaml")).hash == identity["recipe"]


def test_a_finished_run_is_not_repeated_and_its_name_not_taken(
    undisturbed: RunResult, tiny_llama: Path, corpus: dict[str, str], home: Path
) -> None:
    shutil.rmtree(home / "adapters" / "undisturbed")
    assert _train(_recipe(tiny_llama, corpus), "undisturbed", home) == undisturbed
    assert "undisturbed" in find_adapters(home / "adapters")
    with pytest.raises(ConfigError, match=r"another recipe \(lora\.r was 16, is 8\)"):
        _train(_recipe(tiny_llama, corpus, lora={"r": 8}), "undisturbed", home)
    corpus_file = Path(corpus["train"])
    changed = shutil.copy(corpus_file, corpus_file.with_suffix(".bak"))
    try:
        corpus_file.write_text("".join(corpus_file.read_text().splitlines(keepends=True)[:-1]))
        with pytest.raises(ConfigError, match="its training corpus changed"):
            _train(_recipe(tiny_llama, corpus), "undisturbed", home)
    finally:
        shutil.move(changed, corpus_file)


def test_a_run_is_trained_by_one_process_at_a_time(
    tiny_llama: Path, corpus: dict[str, str], tmp_path: Path
) -> None:
    with (
        _locked(tmp_path / "runs" / "mine"),
        pytest.raises(ConfigError, match="run 'mine' is being trained by another process"),
    ):
        _train(_recipe(tiny_llama, corpus), "mine", tmp_path)
    assert not (tmp_path / "runs" / "mine").exists()


def test_fewer_gpus_than_workers_are_not_waited_for(
    tiny_llama: Path, corpus: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(ConfigError, match="asks for 2 GPUs, here are 1"):
        _train(_recipe(tiny_llama, corpus, resources={"workers": 2}), "mine", tmp_path)


def test_a_run_that_explodes_ends_with_a_diagnosis_and_is_not_tried_again(
    tiny_llama: Path, corpus: dict[str, str], home: Path
) -> None:
    recipe = _recipe(
        tiny_llama,
        corpus,
        optimizer={"learning_rate": 1e30, "warmup_ratio": 0.0},
        resources=TWO_WORKERS | {"workers": 1},
    )
    with pytest.raises(TrainingFailed, match=r"step 2, samples .*loss is nan.*learning rate that is"):
        _train(recipe, "exploded", home)
    run = home / "runs" / "exploded"
    assert len(_events(run, "start")) == 1
    [*samples] = json.loads((run / "failed_step.json").read_text())
    assert len(samples) == recipe.batch_size
    assert {sample["loss"] for sample in samples} == {"nan"}
    assert all("<svg" in sample["prompt"] and sample["completions"] for sample in samples)
    assert "exploded" not in find_adapters(home / "adapters")
