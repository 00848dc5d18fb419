"""Experiment trackers, through Accelerate's own integrations: Weights & Biases, TensorBoard, MLflow."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from captioning.atomic import write_text
from captioning.errors import ConfigError
from training.progress import Sink
from training.recipe import Recipe, Tracker, flat

IDS_FILE = "tracking.json"  # in the run's folder: what the trackers know the run by

_log = logging.getLogger(__name__)
_PROJECT = "svg-captioner"
_MODULES = {"wandb": ("wandb",), "tensorboard": ("tensorboard", "tensorboardX"), "mlflow": ("mlflow",)}


def check_installed(trackers: tuple[Tracker, ...]) -> None:
    """Raises ConfigError where the library of a tracker is missing."""
    for tracker in trackers:
        if not any(find_spec(module) for module in _MODULES[tracker]):
            raise ConfigError(f"tracking={tracker} needs its library: pip install {_MODULES[tracker][0]}")


def start(accelerator: Accelerator, recipe: Recipe, folder: Path) -> Sink | None:
    """Open the recipe's trackers on the main worker; the sink gives them the numbers of each event.

    A run that is restarted goes on as the same run there. What a tracker fails at is logged, no more.
    """
    if not recipe.tracking or not accelerator.is_main_process:
        return None
    run, path = folder.name, folder / IDS_FILE
    # A name would not do: whoever deletes a run and begins it anew would add to the curves of the old one
    ids = json.loads(path.read_text()) if path.exists() else {"wandb": f"{run}-{secrets.token_hex(4)}"}
    settings = {key: value if isinstance(value, int | float) else str(value)
                for key, value in flat(recipe.model_dump(mode="json")).items()}  # fmt: skip
    accelerator.init_trackers(
        _PROJECT,
        config=settings,
        init_kwargs={
            "wandb": {"name": run, "id": ids["wandb"], "resume": "allow"},
            "mlflow": {"run_name": run, "run_id": ids.get("mlflow")},
        },
    )
    if "mlflow" in recipe.tracking:
        ids["mlflow"] = accelerator.get_tracker("mlflow", unwrap=True).info.run_id
    write_text(path, json.dumps(ids))

    def sink(event: str, step: int, values: Mapping[str, Any]) -> None:
        numbers = {f"{event}/{key}": value for key, value in values.items() if isinstance(value, int | float)}
        if not numbers:
            return
        try:
            accelerator.log(numbers, step=step)
        except Exception as error:  # noqa: BLE001 (of any library; a server that is away must not end a run)
            _log.warning(
                "%s did not take the numbers of step %d: %s", ", ".join(recipe.tracking), step, error
            )

    return sink
