"""One run's workers on Ray Train: started on the Ray that is there, followed, and stopped when asked.

Checkpoints are not Ray Train's but ours (`training.checkpoints`): it would take the newest for whole,
and count one only when its controller has seen it.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import ray
import torch
from pydantic import TypeAdapter
from ray.train import FailureConfig, LoggingConfig, Result, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchConfig, TorchTrainer

from captioning.errors import ConfigError
from captioning.running_ray import root_cause, running_ray
from training.errors import TrainingFailed
from training.follow import following
from training.loop import Outcome
from training.preflight import Checked
from training.recipe import Resources
from training.worker import METRICS_FILE, STOP_FILE, Job, work

_POLL_S = "0.5"  # how soon Ray Train's controller notices that a worker died
_WAIT_S = 0.2  # between two looks at signals

Device = Literal["cpu", "cuda"]

_log = logging.getLogger(__name__)


def fit(checked: Checked, folder: Path) -> Outcome:
    """Train on Ray, in a run's folder that all nodes see.

    SIGTERM or Ctrl-C ends the run after the step it is at, with a checkpoint; a second one, at once.

    Raises:
        TrainingFailed: the workers died more often than the recipe allows.
    """
    resources = checked.recipe.resources
    with _ray(resources):
        device = _device(resources)
        job = Job(
            recipe=checked.recipe, spec=checked.spec, device=device, folder=folder,
            train=checked.train.file, validation=checked.validation.file,
        )  # fmt: skip
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
                logging_config=LoggingConfig(log_level="WARNING"),
            ),
        )
        try:
            with following(folder / METRICS_FILE, checked.total_steps):
                result = _fit_until_stopped(trainer, folder / STOP_FILE)
        except TrainingFailedError as error:
            raise TrainingFailed(
                f"run '{folder.name}': the workers failed {resources.max_failures + 1} times, the last time "
                f"with: {root_cause(error)}. The same command goes on from the last checkpoint."
            ) from error
    return TypeAdapter(Outcome).validate_python(result.return_value)  # type: ignore[attr-defined]  # of V2


def _fit_until_stopped(trainer: TorchTrainer, stop_file: Path) -> Result:
    """In a thread of its own Ray sets no handler of Ctrl-C, which would end the run without a checkpoint."""
    result: Future[Result] = Future()

    def fit() -> None:
        try:
            result.set_result(trainer.fit())
        except BaseException as error:  # noqa: BLE001 (raised again where the result is awaited)
            result.set_exception(error)

    stop_file.unlink(missing_ok=True)
    with _asking_to_stop(stop_file):
        threading.Thread(target=fit, daemon=True).start()
        while not result.done():
            try:
                result.exception(timeout=_WAIT_S)
            except TimeoutError:
                continue
    return result.result()


@contextmanager
def _asking_to_stop(stop_file: Path) -> Iterator[None]:
    """Signals leave the file that workers look for after each step. Only a main thread can hear them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: object) -> None:
        if stop_file.exists():
            raise KeyboardInterrupt
        stop_file.touch()
        _log.warning("stopping after this step, with a checkpoint; the same signal again stops at once")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _ray(resources: Resources) -> Iterator[None]:
    """The Ray that is there: the process's own, the cluster of RAY_ADDRESS, or else one for this run."""
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", _POLL_S)
    alone = not ray.is_initialized() and not os.environ.get("RAY_ADDRESS")
    gpus = torch.cuda.device_count()
    wants_gpus = resources.device == "cuda" or (resources.device == "auto" and gpus > 0)
    if alone and wants_gpus and gpus < resources.workers:  # a Ray of this run's own never grows
        raise ConfigError(
            f"the recipe asks for {resources.workers} GPUs, here are {gpus}. Give resources.workers and "
            "resources.device, or set RAY_ADDRESS to a cluster with GPUs."
        )
    with running_ray(cpus=math.ceil(resources.workers * resources.cpus_per_worker)):
        yield


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
