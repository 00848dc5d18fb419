"""Captioners against each other: paired differences, their intervals, and what may be claimed from them.

Each captioner is compared with all that come before it in the suite. A difference on all samples is tested by
approximate randomization, and Holm's correction is over all of a report's tests: captioners times scores.
Differences within a source have intervals alone; they explore, and nothing is claimed from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from pydantic import BaseModel, ConfigDict

from evaluation.metrics.statistics import (
    Bools,
    Difference,
    Measured,
    holm,
    paired_difference,
    randomization_p,
)

_LEAST = 0.0005  # a smaller difference is 0.000 in tables, and no news however sure it is
LEVEL = 0.05  # the chance of even one false claim in a report is kept below it

Differences = dict[str, Difference]
"""By score; what only one of the two captioners has is left out."""


class Comparison(BaseModel):
    """One captioner less another, the baseline: above 0 it is better."""

    model_config = ConfigDict(frozen=True)

    captioner: str
    baseline: str
    differences: Differences
    by_source: dict[str, Differences]


def compare_all(
    measured: Mapping[str, Mapping[str, Measured]], groups: Mapping[str, Bools]
) -> tuple[Comparison, ...]:
    """Every pair of captioners: first those with the first captioner as baseline, then with the second."""
    found = [
        compare(captioner, baseline, measured[captioner], measured[baseline], groups)
        for baseline, captioner in combinations(measured, 2)
    ]
    return corrected(found)


def compare(
    captioner: str,
    baseline: str,
    ours: Mapping[str, Measured],
    theirs: Mapping[str, Measured],
    groups: Mapping[str, Bools],
) -> Comparison:
    """One pair, not yet corrected."""
    p_values = randomization_p(ours, theirs)
    return Comparison(
        captioner=captioner,
        baseline=baseline,
        differences={
            name: replace(found, p=p_values.get(name)) for name, found in _differences(ours, theirs).items()
        },
        by_source={name: _differences(ours, theirs, inside) for name, inside in groups.items()},
    )


def corrected(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """The comparisons with Holm's correction over all their tests."""
    tests = [
        (index, name, found.p)
        for index, comparison in enumerate(comparisons)
        for name, found in comparison.differences.items()
        if found.p is not None
    ]
    adjusted = {
        (index, name): p for (index, name, _), p in zip(tests, holm([p for *_, p in tests]), strict=True)
    }
    return tuple(
        comparison.model_copy(
            update={
                "differences": {
                    name: replace(found, p_holm=adjusted.get((index, name)))
                    for name, found in comparison.differences.items()
                }
            }
        )
        for index, comparison in enumerate(comparisons)
    )


def n_tests(comparisons: Sequence[Comparison]) -> int:
    return sum(found.p is not None for one in comparisons for found in one.differences.values())


def claim(comparison: Comparison, names: Mapping[str, str]) -> str:
    """What may be said of a pair in one sentence; `names` are the scores to speak of, and their headings."""
    tested = {
        name: found
        for name, found in comparison.differences.items()
        if name in names and found.p_holm is not None
    }
    shown = {
        name: found
        for name, found in tested.items()
        if (found.p_holm or 0.0) < LEVEL and abs(found.difference) >= _LEAST
    }
    better = [names[name] for name, found in shown.items() if found.difference > 0]
    worse = [names[name] for name, found in shown.items() if found.difference < 0]
    undecided = [names[name] for name in tested if name not in shown]
    parts = [f"is better in {_joined(better)}"] * bool(better) + [f"is worse in {_joined(worse)}"] * bool(
        worse
    )
    if undecided:
        parts.append(f"shows no difference in {_joined(undecided)} (which does not make them equal)")
    said = _joined(parts) if parts else "was not tested: too few samples have both captioners' scores"
    return f"{comparison.captioner} against {comparison.baseline}: {comparison.captioner} {said}."


def _joined(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1]))) if words else ""


def _differences(
    ours: Mapping[str, Measured], theirs: Mapping[str, Measured], inside: Bools | None = None
) -> Differences:
    differences = {
        name: paired_difference(one if inside is None else one.only(inside), theirs[name])
        for name, one in ours.items()
        if name in theirs
    }
    return {name: difference for name, difference in differences.items() if difference is not None}
