"""Workers, the driver and a whole node die; the run ends as if nothing had happened, to the last bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from tests.training.helpers import recipe_for, write_splits
from training.recipe import Recipe, dump_recipe
from training.run import train

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),  # Ray's own settings, by Ray itself
]

NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80_000_000}  # room for one worker
STEPS = 12


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes, so that the two workers of a run are apart."""
    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")  # short: socket paths are limited
    system = {"worker_niceness": 0, "health_check_period_ms": 1000, "health_check_failure_threshold": 5}
    head = NODE | {"temp_dir": folder, "include_dashboard": False, "_system_config": system}
    nodes = Cluster(initialize_head=True, head_node_args=head)
    nodes.add_node(**NODE)
    ray.init(address=nodes.address, log_to_driver=False)
    yield nodes
    ray.shutdown()
    nodes.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Run:
    """A run's folders and what can be seen of it from outside."""

    home: Path
    name: str

    @property
    def folder(self) -> Path:
        return self.home / "runs" / self.name

    def train(self, recipe: Recipe) -> None:
        train(recipe, name=self.name, runs_dir=self.home / "runs", adapters_dir=self.home / "adapters")

    def events(self, kind: str) -> list[dict[str, Any]]:
        path = self.folder / "metrics.jsonl"
        *lines, _ = path.read_text().split("\n") if path.exists() else [""]
        return [event for event in map(json.loads, lines) if event["event"] == kind]

    def losses(self) -> list[tuple[int, float]]:
        return [(e["step"], e["loss"]) for kind in ("step", "validation") for e in self.events(kind)]

    def weights(self) -> bytes:
        return (self.folder / "adapter" / "adapter_model.safetensors").read_bytes()

    def wait_for_step(self, step: int, ended: Callable[[], bool]) -> None:
        while len(self.events("step")) < step:
            assert not ended(), f"{self.name} ended before step {step}"
            time.sleep(0.02)

    def train_disturbed(self, recipe: Recipe, disturb: Callable[[], None]) -> None:
        """Disturbed once a checkpoint is there and some steps after it are done."""
        with ThreadPoolExecutor(1) as thread:  # Ray starts nodes in the main thread only
            training = thread.submit(self.train, recipe)
            self.wait_for_step(7, training.done)
            disturb()
            training.result()


@pytest.fixture(scope="module")
def recipe(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return recipe_for(
        tiny_llama,
        corpus=write_splits(tmp_path_factory.mktemp("corpus")),
        epochs=2,
        validation={"every_steps": 3},
        checkpoints={"every_steps": 2, "keep": 2},
        resources={"workers": 2, "cpus_per_worker": 1.0, "device": "cpu"},
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster, recipe: Recipe, home: Path) -> Run:
    run = Run(home, "undisturbed")
    run.train(recipe)
    assert len(run.events("step")) == STEPS
    return run


def _same(run: Run, undisturbed: Run) -> None:
    assert run.losses() == undisturbed.losses()
    assert run.weights() == undisturbed.weights()


@pytest.mark.slow  # a lost node, below, kills a worker too
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_worker_costs_nothing_but_time(
    rank: int, undisturbed: Run, recipe: Recipe, home: Path
) -> None:
    run = Run(home, f"rank-{rank}")

    def kill() -> None:
        os.kill(run.events("start")[0]["workers"][rank]["pid"], signal.SIGKILL)

    run.train_disturbed(recipe, kill)
    first, second = run.events("start")
    assert (first["step"], second["step"] % 2, second["step"] >= 6) == (0, 0, True)
    assert first["workers"] != second["workers"]
    _same(run, undisturbed)


def test_a_lost_node_costs_nothing_but_time(
    undisturbed: Run, recipe: Recipe, home: Path, cluster: Cluster
) -> None:
    run = Run(home, "node")

    def lose() -> None:
        cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)
        cluster.add_node(**NODE)

    run.train_disturbed(recipe, lose)
    assert len(run.events("start")) == 2
    _same(run, undisturbed)


@contextmanager
def _driver(run: Run, recipe: Recipe, cluster: Cluster) -> Iterator[subprocess.Popen[str]]:
    """The command that a person gives, on the same cluster."""
    path = run.home / f"{run.name}.yaml"
    path.write_text(dump_recipe(recipe))
    words = [str(path), "--run", run.name, "--json"]
    words += ["--runs-dir", str(run.home / "runs"), "--adapters-dir", str(run.home / "adapters")]
    with subprocess.Popen(
        [sys.executable, "-m", "training", *words],
        env=os.environ | {"RAY_ADDRESS": cluster.address},
        stdout=subprocess.PIPE,
        text=True,
    ) as driver:
        yield driver


def test_a_run_asked_to_stop_and_a_killed_driver_go_on_when_started_again(
    undisturbed: Run, recipe: Recipe, home: Path, cluster: Cluster
) -> None:
    run = Run(home, "driver")

    with _driver(run, recipe, cluster) as stopped:
        run.wait_for_step(3, lambda: stopped.poll() is not None)
        stopped.send_signal(signal.SIGTERM)
        answer, _ = stopped.communicate(timeout=120)
    assert stopped.returncode == 1
    assert json.loads(answer)["error"]["type"] == "training_interrupted"
    steps = len(run.events("step"))
    assert (run.folder / f"checkpoint-{steps:06d}").is_dir()

    with _driver(run, recipe, cluster) as killed:
        run.wait_for_step(7, lambda: killed.poll() is not None)
        killed.kill()

    with _driver(run, recipe, cluster) as last:
        answer, _ = last.communicate(timeout=300)
    assert last.returncode == 0
    assert json.loads(answer)["steps"] == STEPS
    _same(run, undisturbed)
