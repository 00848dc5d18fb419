"""Each preset trains each architecture on two workers, in 4 bits; it is stopped, goes on, and ends well."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import ray

from captioning.engine import Caption, Engine
from tests.tiny_models import make_tiny_gemma2, make_tiny_llama
from tests.training.helpers import samples, write_splits
from training.errors import TrainingInterrupted
from training.recipe import load_recipe
from training.run import RunResult, train
from training.worker import STOP_FILE

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),  # Ray's own settings, by Ray itself
]

PRESETS = ("test1", "test2", "test3", "test3-multi-gpu")
ALWAYS = (("test3-multi-gpu", "gemma2"),)
MAKERS = {"llama": make_tiny_llama, "gemma2": make_tiny_gemma2}


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")  # short: socket paths are limited
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
        object_store_memory=100_000_000, _temp_dir=folder, _system_config={"worker_niceness": 0},
    )  # fmt: skip
    yield
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {name: make(folder / name) for name, make in MAKERS.items()}


def _recipe_words(model: Path, corpus: dict[str, str]) -> list[str]:
    words = {
        "model": model,
        "corpus.train": corpus["train"],
        "corpus.validation": corpus["validation"],
        "max_steps": 3,
        "optimizer.learning_rate": 3e-3,  # few steps must show
        "validation.every_steps": 2,
        "resources.workers": 2,
        "resources.cpus_per_worker": 0.5,
        "resources.device": "cpu",
        "deepspeed": "null",
    }
    return [f"{key}={value}" for key, value in words.items()]


def _stop_when_it_trains(run: Path) -> None:
    log = run / "metrics.jsonl"
    while not (log.exists() and '"validation"' in log.read_text()):
        time.sleep(0.01)
    (run / STOP_FILE).touch()


# One of the combinations in every test run; `-m slow` has the others.
@pytest.mark.parametrize(
    ("preset", "architecture"),
    [
        pytest.param(preset, name, marks=[] if (preset, name) in ALWAYS else [pytest.mark.slow])
        for preset in PRESETS
        for name in MAKERS
    ],
)
def test_a_preset_runs_to_its_end_across_an_interruption(
    preset: str, architecture: str, models: dict[str, Path], tmp_path: Path
) -> None:
    model = models[architecture]
    recipe = load_recipe(preset, _recipe_words(model, write_splits(tmp_path, train=96)))
    assert recipe.quantization == "nf4"
    run = tmp_path / "runs" / preset

    def start() -> RunResult:
        return train(recipe, name=preset, runs_dir=run.parent, adapters_dir=tmp_path / "adapters")

    with ThreadPoolExecutor(1) as watcher:
        watcher.submit(_stop_when_it_trains, run)
        with pytest.raises(TrainingInterrupted, match="The same command goes on"):
            start()
    result = start()

    assert (result.status, result.steps) == ("completed", 3)
    assert result.validation_loss < result.validation_loss_before
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [e["step"] for e in events if e["event"] == "step"] == [1, 2, 3]
    assert len([e for e in events if e["event"] == "start"]) == 2
    engine = Engine.load(str(model))
    engine.load_adapter(tmp_path / "adapters" / preset)
    [caption] = engine.caption([samples(1)[0].svg], adapter=preset)
    assert isinstance(caption, Caption)
