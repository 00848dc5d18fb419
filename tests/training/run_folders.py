"""Folders of runs as training leaves them, without training."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

from captioning.corpus import corpus_fingerprint
from training.recipe import Recipe, dump_recipe

VALIDATE_EVERY = 10


def make_run(
    folder: Path,
    *,
    steps: int = 40,
    speed: float = 0.05,
    status: str | None = "completed",
    recipe: dict[str, Any] | None = None,
    identity: dict[str, str] | None = None,
) -> Path:
    """A run whose loss falls from 4 towards 1; `status` None: it has not ended. Returns `folder`."""
    settings = Recipe.model_validate(recipe or {})
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(dump_recipe(settings))
    corpus = Path(settings.corpus.train)
    known = {"training corpus": corpus_fingerprint(corpus)} if corpus.is_file() else {}
    (folder / "identity.json").write_text(json.dumps(known | (identity or {})))
    log(folder, event="start", step=0, workers=[])
    log(folder, event="validation", step=0, loss=loss(0, speed), best=loss(0, speed), seconds=1.0)
    for step in range(1, steps + 1):
        log(folder, event="step", step=step, loss=loss(step, speed) + 0.1, grad_norm=1.0, learning_rate=1e-4,
            label_tokens=50, tokens=1000, seconds=2.0, tokens_per_s=500.0, padding_share=0.1,
            gpu_memory_gib=4.0 + step / 100)  # fmt: skip
        if step % VALIDATE_EVERY == 0:
            log(
                folder,
                event="validation",
                step=step,
                loss=loss(step, speed),
                best=loss(step, speed),
                seconds=1.0,
            )
            log(folder, event="captions", step=step, captions=[])
    if status:
        (folder / "result.json").write_text(json.dumps(_result(folder, status, steps, speed)))
    return folder


def loss(step: int, speed: float) -> float:
    return 1 + 3 / (1 + speed * step)


def log(folder: Path, **event: Any) -> None:
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(event) + "\n")


def worker(pid: int | None = None) -> dict[str, Any]:
    """A worker on this machine; without `pid`, this very process."""
    return {"host": socket.gethostname(), "pid": pid or os.getpid()}


def _result(folder: Path, status: str, steps: int, speed: float) -> dict[str, Any]:
    splits = {
        "train": {"samples": 1200, "dropped": {"more than 2048 tokens": 7, "SVG refused: too_deep": 1},
                  "long_references": 0, "longest_tokens": 1990},
        "validation": {"samples": 200, "dropped": {}, "long_references": 0, "longest_tokens": 900},
    }  # fmt: skip
    return {
        "run": folder.name,
        "status": status,
        "adapter": str(folder / "adapter"),
        "steps": steps,
        "total_steps": steps,
        "best_step": steps,
        "validation_loss_before": loss(0, speed),
        "validation_loss": loss(steps, speed),
        "padding_share": 0.1,
        "splits": splits,
        "seconds": 3 * steps,
    }
