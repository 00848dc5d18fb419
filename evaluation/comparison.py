"""Captioners against the first one of their suite: paired differences with their intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ConfigDict

from evaluation.metrics.statistics import Bools, Difference, Measured, paired_difference

Differences = dict[str, Difference]
"""By score; what only one of the two captioners has is left out."""


class Comparison(BaseModel):
    """One captioner less the baseline: above 0 it is better."""

    model_config = ConfigDict(frozen=True)

    captioner: str
    baseline: str
    differences: Differences
    by_source: dict[str, Differences]


def compare_with_first(
    measured: Mapping[str, Mapping[str, Measured]], groups: Mapping[str, Bools]
) -> Iterator[Comparison]:
    """Comparisons of all captioners but the first, which is the baseline."""
    for captioner in list(measured)[1:]:
        baseline = next(iter(measured))
        ours, theirs = measured[captioner], measured[baseline]
        yield Comparison(
            captioner=captioner,
            baseline=baseline,
            differences=_differences(ours, theirs),
            by_source={name: _differences(ours, theirs, inside) for name, inside in groups.items()},
        )


def _differences(
    ours: Mapping[str, Measured], theirs: Mapping[str, Measured], inside: Bools | None = None
) -> Differences:
    differences = {
        name: paired_difference(one if inside is None else one.only(inside), theirs[name])
        for name, one in ours.items()
        if name in theirs
    }
    return {name: difference for name, difference in differences.items() if difference is not None}
