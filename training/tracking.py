"""Experiment trackers, through Accelerate's own integrations: Weights & Biases, TensorBoard, MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from accelerate import Accelerator

from captioning.errors import ConfigError
from training.progress import Sink
from training.recipe import Recipe, Tracker, flat

_PROJECT = "svg-captioner"
_MODULES = {"wandb": ("wandb",), "tensorboard": ("tensorboard", "tensorboardX"), "mlflow": ("mlflow",)}


def check_installed(trackers: tuple[Tracker, ...]) -> None:
    """Raises ConfigError where the library of a tracker is missing."""
    for tracker in trackers:
        if not any(find_spec(module) for module in _MODULES[tracker]):
            raise ConfigError(f"tracking={tracker} needs its library: pip install {_MODULES[tracker][0]}")


def start(accelerator: Accelerator, recipe: Recipe, run: str) -> Sink | None:
    """Open the recipe's trackers on the main worker; the sink gives them the numbers of each event."""
    if not recipe.tracking:
        return None
    settings = {key: value if isinstance(value, int | float) else str(value)
                for key, value in flat(recipe.model_dump(mode="json")).items()}  # fmt: skip
    accelerator.init_trackers(
        _PROJECT,
        config=settings,
        # the same run again after a restart, not a second one
        init_kwargs={"wandb": {"name": run, "id": run, "resume": "allow"}, "mlflow": {"run_name": run}},
    )

    def sink(event: str, step: int, values: Mapping[str, Any]) -> None:
        numbers = {f"{event}/{key}": value for key, value in values.items() if isinstance(value, int | float)}
        if numbers:
            accelerator.log(numbers, step=step)

    return sink
