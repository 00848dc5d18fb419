"""Two runs on one split: the same captioners before and after, rescored together and tested."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from captioning.errors import ConfigError
from evaluation.comparison import Comparison, compare, corrected
from evaluation.report import ScoredRow
from evaluation.samples import read_captioner, read_its_split, read_report
from evaluation.scoring import METRICS, Metric, Scored, by_source, score
from evaluation.workbench import Workbench


class RunComparison(BaseModel):
    """`second` less `first`, for each captioner of both, or for the two that were named."""

    model_config = ConfigDict(frozen=True)

    first: str
    second: str
    samples: int
    only_in_one: tuple[str, ...]  # captioners of one run alone, which are not compared
    comparisons: tuple[Comparison, ...]


def compare_runs(
    first: Path,
    second: Path,
    *,
    captioners: tuple[str, str] | None = None,
    corpus: Path | None = None,
    clip: str | None = None,
    metrics: Sequence[Metric] = METRICS,
) -> RunComparison:
    """Rescore both runs' candidates with today's metrics, and test the second against the first.

    Raises:
        EvaluationError: one of the folders has no finished run.
        ConfigError: the runs are about different samples, or have no captioner in common.
    """
    runs = [read_report(folder) for folder in (first, second)]
    if runs[0].setup["corpus"] != runs[1].setup["corpus"]:
        raise ConfigError(
            f"{first} and {second} are about different samples: paired tests need the same ones"
        )
    samples = list(read_its_split(runs[0], corpus).values())
    names = [{row.captioner for row in run.rows if isinstance(row, ScoredRow)} for run in runs]
    pairs = [captioners] if captioners else [(name, name) for name in sorted(names[0] & names[1])]
    unknown = [name for pair in pairs for name, known in zip(pair, names, strict=True) if name not in known]
    if unknown or not pairs:
        raise ConfigError(
            f"{unknown[0] if unknown else 'no captioner'} was scored in the run: "
            f"{first.name} has {', '.join(sorted(names[0]))}; {second.name} has {', '.join(sorted(names[1]))}"
        )
    made = [
        read_captioner(folder, name).candidates
        for pair in pairs
        for folder, name in zip((first, second), pair, strict=True)
    ]
    with Workbench(samples) as workbench:
        scored = score(samples, made, clip=workbench.clip(clip), metrics=metrics)
    groups = by_source(samples)
    found = [
        compare(f"{second.name}/{after}", f"{first.name}/{before}", new.measured, old.measured, groups)
        for (before, after), (old, new) in zip(pairs, _in_twos(scored), strict=True)
    ]
    alone = () if captioners else tuple(sorted(names[0] ^ names[1]))
    return RunComparison(
        first=runs[0].run,
        second=runs[1].run,
        samples=len(samples),
        only_in_one=alone,
        comparisons=corrected(found),
    )


def _in_twos(scored: Sequence[Scored]) -> list[tuple[Scored, Scored]]:
    return list(zip(scored[::2], scored[1::2], strict=True))
