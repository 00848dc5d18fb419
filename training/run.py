"""One training run, from a recipe to an adapter folder: the driver's side.

Everything is checked before Ray is asked for anything (`training.preflight`); then
`training.worker.work` runs on every worker, and the best adapter is exported and installed.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import ray
import torch
import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter
from ray.train import (
    CheckpointConfig,
    FailureConfig,
    LoggingConfig,
    RunConfig,
    ScalingConfig,
    TrainingFailedError,
)
from ray.train.torch import TorchConfig, TorchTrainer
from transformers import AutoConfig

from captioning.adapters import Manifest, install_adapter, library_versions, write_adapter
from captioning.base_models import BASE_MODELS, resolve
from captioning.errors import ConfigError
from captioning.prompt import PROMPT_VERSION
from rendering import CANONICALIZER_VERSION
from training import model
from training.data import write_examples
from training.errors import TrainingFailed
from training.follow import following
from training.loop import Outcome
from training.preflight import Checked, SplitReport, check
from training.progress import read_best
from training.recipe import Recipe, Resources, dump_recipe, flat
from training.worker import METRICS_FILE, Job, work

_log = logging.getLogger(__name__)

_OBJECT_STORE_BYTES = 200 * 1024 * 1024  # of a Ray of our own: a run passes nothing through it
_POLL_S = "0.5"  # how soon Ray Train's controller takes note of a checkpoint

Device = Literal["cpu", "cuda"]


class RunResult(BaseModel):
    """What a run ended with; kept as `result.json` in its folder."""

    model_config = ConfigDict(frozen=True)

    run: str
    status: str  # completed, or stopped_early
    adapter: Path  # folder
    steps: int
    total_steps: int
    best_step: int
    validation_loss_before: float  # nats per token
    validation_loss: float  # of the exported adapter
    padding_share: float
    splits: dict[str, SplitReport]
    seconds: float


def default_name(recipe_name: str, recipe: Recipe) -> str:
    """Recipe and model; never the name of a base model, which a service would mistake it for."""
    base = resolve(recipe.model).id.rpartition("/")[2]
    return f"{recipe_name}-{'adapter' if base == recipe_name else base}"


def train(recipe: Recipe, *, name: str, runs_dir: Path, adapters_dir: Path) -> RunResult:
    """Run the recipe to its end. An interrupted run of that name goes on; a finished one is not repeated.

    Raises:
        ConfigError, CorpusError: before any resource is asked for.
        TrainingFailed: the workers failed, or found that going on is pointless.
    """
    started = time.monotonic()
    folder = runs_dir.resolve() / name
    _check_name(name)
    _check_same_recipe(recipe, folder)
    checked = check(recipe, folder / "corpus")
    _open(folder, checked)
    result_file = folder / "result.json"
    if not result_file.exists():
        outcome, checkpoint = _fit(checked, folder)
        _export(checked, outcome, checkpoint, folder / "adapter")
        result = _result(checked, outcome, folder, time.monotonic() - started)
        result_file.write_text(result.model_dump_json(indent=2), encoding="utf-8")
    install_adapter(folder / "adapter", adapters_dir)
    return RunResult.model_validate_json(result_file.read_text(encoding="utf-8"))


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise ConfigError(f"run '{name}': a name has up to 64 letters, digits, '.', '_' and '-'")
    if name in BASE_MODELS:
        raise ConfigError(f"run '{name}' has the name of a base model: its adapter could not be asked for")


def _check_same_recipe(recipe: Recipe, folder: Path) -> None:
    path = folder / "recipe.yaml"
    if not path.exists():
        return
    before = flat(yaml.safe_load(path.read_text(encoding="utf-8")))
    now = flat(recipe.model_dump(mode="json"))
    changes = [
        f"{key} was {before.get(key)}, is {now.get(key)}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]
    if changes:
        raise ConfigError(
            f"run '{folder.name}' was begun with another recipe ({'; '.join(changes)}). "
            f"Give this one a name of its own with --run, or delete {folder}."
        )


def _open(folder: Path, checked: Checked) -> None:
    """Write what the run is made of, or make sure that it is what the run was begun with."""
    path = folder / "identity.json"
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        if changed := [what for what, value in checked.identity.items() if before.get(what) != value]:
            raise ConfigError(
                f"run '{folder.name}' cannot go on: its {', '.join(changed)} changed since it was begun. "
                f"Give the run another name with --run, or delete {folder}."
            )
    folder.mkdir(parents=True, exist_ok=True)
    write_examples(folder / "tokens" / "train.parquet", checked.train.examples)
    write_examples(folder / "tokens" / "validation.parquet", checked.validation.examples)
    (folder / "recipe.yaml").write_text(dump_recipe(checked.recipe), encoding="utf-8")
    path.write_text(json.dumps(checked.identity, indent=2), encoding="utf-8")


def _fit(checked: Checked, folder: Path) -> tuple[Outcome, Path]:
    """Train on Ray; returns the outcome, and the last checkpoint, which holds the best adapter."""
    resources = checked.recipe.resources
    with _ray(resources):
        device = _device(resources)
        job = Job(recipe=checked.recipe, spec=checked.spec, device=device, folder=folder)
        trainer = TorchTrainer(
            work,  # type: ignore[arg-type]  # it may return something
            train_loop_config=job.model_dump(mode="json"),
            torch_config=TorchConfig(backend="nccl" if device == "cuda" else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=resources.workers,
                use_gpu=device == "cuda",
                resources_per_worker={"CPU": resources.cpus_per_worker},
            ),
            run_config=RunConfig(  # type: ignore[call-arg]  # of Ray Train V2
                name=folder.name,
                storage_path=str(folder.parent),
                failure_config=FailureConfig(max_failures=resources.max_failures),
                checkpoint_config=CheckpointConfig(num_to_keep=checked.recipe.checkpoints.keep),
                logging_config=LoggingConfig(log_level="WARNING"),
            ),
        )
        try:
            with following(folder / METRICS_FILE, checked.total_steps):
                result = trainer.fit()
        except TrainingFailedError as error:
            raise TrainingFailed(
                f"run '{folder.name}': the workers failed {resources.max_failures + 1} times, the last time "
                f"with: {_root_cause(error)}. The same command goes on from the last checkpoint."
            ) from error
    returned = result.return_value  # type: ignore[attr-defined]  # of Ray Train V2
    outcome = TypeAdapter(Outcome).validate_python(returned)
    if outcome.status == "failed" or result.checkpoint is None:
        raise TrainingFailed(f"run '{folder.name}' was stopped at {outcome.diagnosis}")
    return outcome, Path(result.checkpoint.path)


@contextmanager
def _ray(resources: Resources) -> Iterator[None]:
    """The Ray that is there: the process's own, the cluster of RAY_ADDRESS, or else one for this run."""
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", _POLL_S)
    if ray.is_initialized():
        yield
        return
    if os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False)
    else:
        if resources.device == "cuda" and torch.cuda.device_count() < resources.workers:
            raise ConfigError(
                f"the recipe asks for {resources.workers} GPUs, here are {torch.cuda.device_count()}. Give "
                "resources.workers and resources.device, or set RAY_ADDRESS to a cluster with GPUs."
            )
        _start_ray(resources)
    try:
        yield
    finally:
        ray.shutdown()


def _start_ray(resources: Resources) -> None:
    """Tried twice: Ray gives its own processes 30 s to start, which a busy machine may not manage."""
    options: dict[str, Any] = {
        "address": "local",
        "num_cpus": math.ceil(resources.workers * resources.cpus_per_worker),
        "object_store_memory": _OBJECT_STORE_BYTES,
        "include_dashboard": False,
        "log_to_driver": False,  # `training.follow` shows the progress
    }
    try:
        ray.init(**options)
    except Exception as error:  # noqa: BLE001 (Ray raises no narrower one)
        _log.warning("Ray did not start (%s); once more", error)
        ray.init(**options)


def _device(resources: Resources) -> Device:
    available = ray.cluster_resources()
    gpus = available.get("GPU", 0)
    device: Device = "cuda" if resources.device == "cuda" or (resources.device == "auto" and gpus) else "cpu"
    needed = {"CPU": resources.workers * resources.cpus_per_worker}
    if device == "cuda":
        needed["GPU"] = resources.workers
    for kind, amount in needed.items():
        if amount > available.get(kind, 0):
            _log.warning(
                "the recipe asks for %g %ss, the cluster has %g: the run waits until it grows",
                amount, kind, available.get(kind, 0),
            )  # fmt: skip
    return device


def _export(checked: Checked, outcome: Outcome, checkpoint: Path, folder: Path) -> None:
    """Write the best adapter. The base model's weights are not needed, only its shapes."""
    base = model.on_meta(AutoConfig.from_pretrained(checked.spec.source))
    adapted = model.with_lora(base, checked.recipe.lora, meta=True)
    unexpected = adapted.load_state_dict(read_best(checkpoint), strict=False, assign=True).unexpected_keys
    if unexpected:
        raise TrainingFailed(f"{checkpoint} holds weights that the adapter has no place for: {unexpected[0]}")
    progress = outcome.progress
    manifest = Manifest(
        adapter_id=folder.parent.name,
        base_model=checked.spec.id,
        base_fingerprint=checked.identity["base model"],
        prompt_version=PROMPT_VERSION,
        canonicalizer_version=CANONICALIZER_VERSION,
        recipe=checked.recipe.model_dump(mode="json") | {"model": checked.spec.id},
        corpus_fingerprint=checked.identity["training corpus"],
        metrics={
            "validation_loss_before": progress.first_loss,
            "validation_loss": progress.best_loss,
            "best_step": float(progress.best_step),
        },
        library_versions=library_versions(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    write_adapter(folder, adapted, manifest)


def _result(checked: Checked, outcome: Outcome, folder: Path, seconds: float) -> RunResult:
    return RunResult(
        run=folder.name,
        status=outcome.status,
        adapter=folder / "adapter",
        steps=outcome.progress.step,
        total_steps=outcome.total_steps,
        best_step=outcome.progress.best_step,
        validation_loss_before=outcome.progress.first_loss,
        validation_loss=outcome.progress.best_loss,
        padding_share=checked.padding_share,
        splits=checked.splits,
        seconds=round(seconds, 1),
    )


def _root_cause(error: BaseException) -> str:
    """The last line of the deepest message: Ray nests tracebacks as text."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
