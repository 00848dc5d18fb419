"""One Ray Train worker: sets the scene for `training.loop.Loop`."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from pydantic import BaseModel, ConfigDict
from transformers import PreTrainedTokenizerBase

from captioning.base_models import BaseModelSpec, load_tokenizer
from captioning.prompt import clean_caption
from training import model, tokens, tracking
from training.checkpoints import CheckpointFolder
from training.loop import Loop, Outcome
from training.progress import MetricsLog, Progress
from training.recipe import Recipe

# In the run's folder
METRICS_FILE = "metrics.jsonl"
STOP_FILE = "stop"  # while it is there, the run ends after the step that it is at


class Job(BaseModel):
    """What a worker needs to know. Paths are absolute, on storage that all nodes share."""

    model_config = ConfigDict(frozen=True)

    recipe: Recipe
    spec: BaseModelSpec
    device: Literal["cpu", "cuda"]
    folder: Path  # of the run
    train: Path  # tokens
    validation: Path


def work(config: dict[str, Any]) -> dict[str, Any]:
    """Takes a `Job` and returns an `Outcome`, both as plain data: Ray Train's controller, which passes
    them on, would otherwise load torch and transformers to read them.
    """
    job = Job.model_validate(config)
    logging.getLogger("training").setLevel(logging.INFO)
    torch.set_num_threads(max(1, int(job.recipe.resources.cpus_per_worker)))
    accelerator = make_accelerator(job.recipe, job.device, job.folder)
    if blind := [host for host in gather_object([_blind(job)]) if host]:
        words = f"the start: {', '.join(blind)} cannot see '{job.folder}'. Nodes must share --runs-dir."
        return asdict(Outcome("failed", Progress(), 0, words))
    loop = make_loop(job, accelerator)
    loop.resume()
    path = job.folder / METRICS_FILE if accelerator.is_main_process else None
    sink = tracking.start(accelerator, job.recipe, job.folder)
    log = MetricsLog(path, resumed_at=loop.progress.step, sink=sink)
    workers = gather_object([{"host": socket.gethostname(), "pid": os.getpid()}])
    log.write(
        "start", loop.progress.step, workers=workers, device=job.device,
        precision=accelerator.mixed_precision, passed_over=loop.passed_over,
    )  # fmt: skip
    outcome = loop.run(log)
    if outcome.status in ("failed", "interrupted"):
        log.write("stopped", outcome.progress.step, status=outcome.status, diagnosis=outcome.diagnosis)
    accelerator.end_training()
    return asdict(outcome)


def _blind(job: Job) -> str | None:
    """This host's name where it lacks what the driver has written."""
    return None if job.train.exists() and job.validation.exists() else socket.gethostname()


def make_loop(job: Job, accelerator: Accelerator) -> Loop:
    tokenizer = load_tokenizer(job.spec)
    return Loop(
        job.recipe,
        model.build(job.recipe, job.spec, accelerator.device),
        accelerator,
        train=tokens.read(job.train).examples,
        validation=tokens.read(job.validation).examples,
        store=CheckpointFolder(job.folder, keep=job.recipe.checkpoints.keep),
        text_of=lambda ids: text_of(tokenizer, ids),
        stop_asked=(job.folder / STOP_FILE).exists,
    )


def text_of(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    return clean_caption(str(tokenizer.decode(list(ids), skip_special_tokens=True)))


def make_accelerator(
    recipe: Recipe, device: Literal["cpu", "cuda"], folder: Path | None = None
) -> Accelerator:
    """Accelerate on the process group that Ray Train made, with every worker in it."""
    accelerator = Accelerator(
        cpu=device == "cpu",  # without it, CPU workers would each train an adapter of their own
        mixed_precision="bf16" if model.number_type(recipe, device) == torch.bfloat16 else "no",
        log_with=list(recipe.tracking) or None,
        project_dir=folder,
    )
    if accelerator.num_processes != recipe.resources.workers:
        raise RuntimeError(
            f"Accelerate sees {accelerator.num_processes} of {recipe.resources.workers} workers "
            f"({accelerator.distributed_type}): their gradients would not be averaged"
        )
    return accelerator
