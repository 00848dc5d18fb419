"""One Ray Train worker: sets the scene for `training.loop.Loop` and keeps its checkpoints with Ray."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import ray.train
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from pydantic import BaseModel, ConfigDict

from captioning.base_models import BaseModelSpec
from training import model
from training.data import read_examples
from training.loop import Loop
from training.progress import MetricsLog, Progress
from training.recipe import Recipe

METRICS_FILE = "metrics.jsonl"  # in the run's folder


class Job(BaseModel):
    """What a worker needs to know. The run's folder is absolute, on storage that all nodes share."""

    model_config = ConfigDict(frozen=True)

    recipe: Recipe
    spec: BaseModelSpec
    device: Literal["cpu", "cuda"]
    folder: Path  # of the run


def work(config: dict[str, Any]) -> dict[str, Any]:
    """Takes a `Job` and returns an `Outcome`, both as plain data: Ray Train's controller, which passes
    them on, would otherwise load torch and transformers to read them.
    """
    job = Job.model_validate(config)
    torch.set_num_threads(max(1, int(job.recipe.resources.cpus_per_worker)))
    accelerator = make_accelerator(job.recipe, job.device)
    loop = Loop(
        job.recipe,
        model.build(job.recipe, job.spec, accelerator.device),
        accelerator,
        train=read_examples(job.folder / "tokens" / "train.parquet"),
        validation=read_examples(job.folder / "tokens" / "validation.parquet"),
        store=RayCheckpoints(),
    )
    loop.resume()
    path = job.folder / METRICS_FILE if accelerator.is_main_process else None
    log = MetricsLog(path, resumed_at=loop.progress.step)
    workers = gather_object([{"host": socket.gethostname(), "pid": os.getpid()}])
    log.write("start", loop.progress.step, workers=workers)
    return asdict(loop.run(log))


def make_accelerator(recipe: Recipe, device: Literal["cpu", "cuda"]) -> Accelerator:
    """Accelerate on the process group that Ray Train made, with every worker in it."""
    accelerator = Accelerator(
        cpu=device == "cpu",  # without it, CPU workers would each train an adapter of their own
        mixed_precision="bf16" if recipe.precision == "bf16" else "no",
    )
    if accelerator.num_processes != recipe.resources.workers:
        raise RuntimeError(
            f"Accelerate sees {accelerator.num_processes} of {recipe.resources.workers} workers "
            f"({accelerator.distributed_type}): their gradients would not be averaged"
        )
    return accelerator


class RayCheckpoints:
    """Checkpoints reported to Ray Train, under names that a repeated step writes again."""

    @contextmanager
    def latest(self) -> Iterator[Path | None]:
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            yield None
            return
        with checkpoint.as_directory() as folder:
            yield Path(folder)

    def save(self, write: Callable[[Path], None], progress: Progress) -> None:
        metrics = {"step": progress.step, "validation_loss": progress.last_loss}
        name = f"checkpoint-{progress.step:06d}"
        if ray.train.get_context().get_world_rank() != 0:
            ray.train.report(metrics, checkpoint_dir_name=name)
            return
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder))
            checkpoint = ray.train.Checkpoint.from_directory(folder)
            ray.train.report(metrics, checkpoint=checkpoint, checkpoint_dir_name=name)
