"""Runs side by side: what differs in their recipes, their losses at equal steps, speed and memory.

Compares what the runs' folders say; a run that goes on or failed counts as far as it came. How that is
shown is the business of `training.compare_report`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median
from typing import Any

from captioning.errors import ConfigError
from training.runs import Event, Run

_MOST_ROWS = 10  # of losses at equal steps
_RECENT_STEPS = 20  # training losses of single steps are noise

Values = dict[str, Any]  # by the run's label


@dataclass(frozen=True)
class Facts:
    """One run's figures; None where nothing is logged."""

    status: str
    diagnosis: str | None
    model: str
    steps: int
    total_steps: int | None  # known once the run has ended
    samples_per_step: int
    validation_loss_before: float | None  # losses are nats per token
    best_validation_loss: float | None
    best_step: int | None
    last_validation_loss: float | None
    best_to_common_step: float | None  # validation loss, of the steps that all runs have come to
    training_loss_at_common_step: float | None  # mean of the last steps to there
    tokens_per_s: float | None
    seconds_per_step: float | None  # the median
    padding_share: float | None
    gpu_memory_gib: float | None  # the most
    mfu: float | None
    hours: float  # of steps and validations, over all restarts


@dataclass(frozen=True)
class LossesAt:
    step: int
    validation_loss: Values


@dataclass(frozen=True)
class Comparison:
    runs: dict[str, Facts]  # by label
    common_step: int  # the last that every run has come to
    recipe: dict[str, Values]  # settings that differ
    equal_steps: list[LossesAt]
    notes: list[str]  # why runs failed, and why figures may not be comparable


def compare(runs: Sequence[Run]) -> Comparison:
    """Raises ConfigError for fewer than two runs, or the same one twice."""
    by_label = labelled(runs)
    common = min(_last_step(run) for run in runs)
    return Comparison(
        {label: _facts(run, common) for label, run in by_label.items()},
        common,
        _differences(by_label),
        _equal_steps(by_label),
        list(_notes(by_label)),
    )


def labelled(runs: Sequence[Run]) -> dict[str, Run]:
    """By name, or by folder where two have the same name."""
    if len({run.folder for run in runs}) < max(2, len(runs)):
        raise ConfigError("a comparison takes two or more runs, each once")
    names = [run.name for run in runs]
    return {run.name if names.count(run.name) == 1 else str(run.folder): run for run in runs}


def _facts(run: Run, common: int) -> Facts:
    losses = run.validation_losses
    best = min(losses, key=lambda point: point[1], default=None)
    recent = [loss for step, loss in run.training_losses if step <= common][-_RECENT_STEPS:]
    seconds = [event["seconds"] for event in run.steps]
    return Facts(
        status=run.status,
        diagnosis=run.diagnosis,
        model=str(run.recipe.get("model")),
        steps=_last_step(run),
        total_steps=run.result["total_steps"] if run.result else None,
        samples_per_step=_samples_per_step(run),
        validation_loss_before=next((loss for step, loss in losses if step == 0), None),
        best_validation_loss=best[1] if best else None,
        best_step=int(best[0]) if best else None,
        last_validation_loss=losses[-1][1] if losses else None,
        best_to_common_step=min((loss for step, loss in losses if step <= common), default=None),
        training_loss_at_common_step=_mean(recent),
        tokens_per_s=sum(_logged(run.steps, "tokens")) / sum(seconds) if seconds else None,
        seconds_per_step=median(seconds) if seconds else None,
        padding_share=_mean(_logged(run.steps, "padding_share")),
        gpu_memory_gib=max(_logged(run.steps, "gpu_memory_gib"), default=None),
        mfu=_mean(_logged(run.steps, "mfu")),
        hours=run.seconds / 3600,
    )


def _differences(runs: dict[str, Run]) -> dict[str, Values]:
    names = sorted({name for run in runs.values() for name in run.recipe})
    found = {name: {label: run.recipe.get(name) for label, run in runs.items()} for name in names}
    return {name: values for name, values in found.items() if _differ(values.values())}


def _equal_steps(runs: dict[str, Run]) -> list[LossesAt]:
    """Steps at which every run was validated: evenly spread ones, and the last."""
    losses = {label: dict(run.validation_losses) for label, run in runs.items()}
    shared = sorted(set.intersection(*(set(of_run) for of_run in losses.values())))
    stride = max(1, -(-len(shared) // _MOST_ROWS))
    shown = sorted({*shared[::stride], *shared[-1:]})
    return [LossesAt(int(step), {label: of_run[step] for label, of_run in losses.items()}) for step in shown]


def _notes(runs: dict[str, Run]) -> Iterator[str]:
    yield from (f"{label} was stopped: {run.diagnosis}" for label, run in runs.items() if run.diagnosis)
    known = {
        what: [run.identity.get(what) for run in runs.values()]
        for what in ("validation corpus", "tokenizer", "base model")
    }
    if _differ(known["validation corpus"]):
        yield "the validation corpora differ: the validation losses are not of the same samples."
    if _differ(known["tokenizer"] if all(known["tokenizer"]) else known["base model"]):
        yield "the tokenizers may differ: a loss per token is not of the same tokens. Compare captions."
    sizes = {label: _samples_per_step(run) for label, run in runs.items()}
    if _differ(sizes.values()):
        listed = ", ".join(f"{size} in {label}" for label, size in sizes.items())
        yield f"a step is not as many samples everywhere ({listed}): equal steps are not equal work."


def _samples_per_step(run: Run) -> int:
    return int(run.recipe["batch_size"] * run.recipe["accumulation"] * run.recipe["resources.workers"])


def _last_step(run: Run) -> int:
    return int(run.steps[-1]["step"]) if run.steps else 0


def _logged(events: Sequence[Event], key: str) -> list[float]:
    return [event[key] for event in events if event.get(key) is not None]


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _differ(values: Iterable[Any]) -> bool:
    return any(left != right for left, right in pairwise(values))
