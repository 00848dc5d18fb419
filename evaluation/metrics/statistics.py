"""What every metric comes down to: statistics per sample that can be added up, and a score of their sum.

Scores of samples, of a corpus and of bootstrap resamples are then one function of different sums, so
that a confidence interval needs no second look at a caption.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

RESAMPLES = 1_000
SHUFFLES = 10_000  # the smallest p-value is one in so many, which Holm multiplies
SEED = 20_240_601
_SHUFFLES_AT_ONCE = 500
_ROUNDING = 1e-12  # sums in another order differ by so little
_TAILS = (2.5, 97.5)  # percentiles: a 95 % interval


@dataclass(frozen=True)
class Measured:
    """One metric on the candidates of one captioner."""

    name: str
    statistics: Floats  # (n_samples, n_statistics); a row of NaN is a sample that could not be scored
    score_of: Callable[[Floats], Floats]  # sums (..., n_statistics) -> scores (...)
    signature: str  # how the score was computed, fields parted by "|"
    details: dict[str, float] = field(default_factory=dict)

    @property
    def n_scored(self) -> int:
        return int(self.is_scored.sum())

    def only(self, keep: Bools) -> Measured:
        """The same with the samples outside `keep` marked as not scored."""
        return replace(self, statistics=np.where(keep[:, None], self.statistics, np.nan))

    def sample_scores(self) -> Floats:
        """Shape (n_samples,); NaN where a sample could not be scored."""
        return np.where(self.is_scored, self.score_of(self.statistics), np.nan)

    def corpus_score(self) -> float:
        """Of the samples that could be scored; at least one is needed."""
        return float(self.score_of(self._scored().sum(axis=0)))

    def interval(self) -> tuple[float, float] | None:
        """95 % percentile bootstrap over samples, or None where there are fewer than two.

        The seed is fixed: metrics and captioners scored on the same samples are resampled alike.
        """
        scored = self._scored()
        if len(scored) < 2:
            return None
        low, high = np.percentile(self.score_of(_resampled_sums(scored)), _TAILS)
        return float(low), float(high)

    @property
    def is_scored(self) -> Bools:
        return ~np.isnan(self.statistics[:, 0])

    def _scored(self) -> Floats:
        return self.statistics[self.is_scored]


@dataclass(frozen=True)
class Difference:
    """How much better one captioner is than another, on the samples that both were scored on."""

    difference: float
    low: float | None  # of the paired 95 % bootstrap interval; None with fewer than two samples
    high: float | None
    n: int
    p: float | None = None  # of approximate randomization, two-sided; None where it was not tested
    p_holm: float | None = None  # after Holm's correction over all comparisons of the report


def paired_difference(one: Measured, other: Measured) -> Difference | None:
    """`one` less `other` with each resample drawn alike for both; None where they share no scored sample."""
    shared = one.is_scored & other.is_scored
    if not shared.any():
        return None
    ours, theirs = one.statistics[shared], other.statistics[shared]
    difference = float(one.score_of(ours.sum(axis=0)) - other.score_of(theirs.sum(axis=0)))
    if shared.sum() < 2:
        return Difference(difference, None, None, 1)
    resampled = one.score_of(_resampled_sums(ours)) - other.score_of(_resampled_sums(theirs))
    low, high = np.percentile(resampled, _TAILS)
    return Difference(difference, float(low), float(high), len(ours))


def randomization_p(ours: Mapping[str, Measured], theirs: Mapping[str, Measured]) -> dict[str, float]:
    """By score, how often two captioners that are alike would differ at least as much: a two-sided p-value.

    Approximate randomization (Noreen, 1989): in each shuffle every sample's two captions change captioners
    with probability 1/2, in all scores at once. Scores with fewer than two shared samples are left out.
    """
    pairs = {name: (one, theirs[name]) for name, one in ours.items() if name in theirs}
    shared = {name: one.is_scored & other.is_scored for name, (one, other) in pairs.items()}
    names = [name for name, both in shared.items() if both.sum() > 1]
    if not names:
        return {}
    columns = [_gains(*pairs[name], shared[name]) for name in names]
    moved = _moved_gains(np.concatenate(columns, axis=1))  # (SHUFFLES, all statistics)
    by_score = np.split(moved, np.cumsum([column.shape[1] for column in columns])[:-1], axis=1)
    return {
        name: _share_as_far(*pairs[name], shared[name], gains)
        for name, gains in zip(names, by_score, strict=True)
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values after Holm's step-down correction (1979), which bounds the chance of even one false claim."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(order), 0, -1)
    stepped = np.maximum.accumulate(np.asarray(p_values)[order] * factors).clip(max=1.0)
    adjusted = np.empty(len(order))
    adjusted[order] = stepped
    return [float(p) for p in adjusted]


def _gains(one: Measured, other: Measured, shared: Bools) -> Floats:
    """What a sample adds to `one` beyond `other`, (n_samples, n_statistics); 0 where it is not shared."""
    return np.where(shared[:, None], one.statistics - other.statistics, 0.0)


def _moved_gains(gains: Floats) -> Floats:
    """The sums over the samples that each shuffle leaves where they are, shape (SHUFFLES, n_statistics)."""
    draws = np.random.default_rng(SEED)
    parts = [
        draws.integers(2, size=(_SHUFFLES_AT_ONCE, len(gains)), dtype=np.uint8) @ gains
        for _ in range(SHUFFLES // _SHUFFLES_AT_ONCE)
    ]
    return np.concatenate(parts)


def _share_as_far(one: Measured, other: Measured, shared: Bools, moved: Floats) -> float:
    ours, theirs = one.statistics[shared].sum(axis=0), other.statistics[shared].sum(axis=0)
    found = one.score_of(ours) - other.score_of(theirs)
    shuffled = one.score_of(theirs + moved) - other.score_of(ours - moved)
    as_far = np.abs(shuffled) >= np.abs(found) - _ROUNDING
    return float(1 + as_far.sum()) / (1 + len(moved))


def mean_of(name: str, scores: npt.ArrayLike, signature: str) -> Measured:
    """A metric whose corpus score is the mean of its sample scores, shape (n_samples,)."""
    column = np.asarray(scores, dtype=np.float64)
    counted = np.stack([column, np.where(np.isnan(column), np.nan, 1.0)], axis=1)
    return Measured(name, counted, _mean, signature)


def _mean(sums: Floats) -> Floats:
    return sums[..., 0] / sums[..., 1]


def _resampled_sums(statistics: Floats) -> Floats:
    """Sums of samples drawn with replacement, shape (RESAMPLES, n_statistics)."""
    return np.asarray(_draws(len(statistics)) @ statistics)


@lru_cache(maxsize=4)
def _draws(n_samples: int) -> npt.NDArray[np.uint16]:
    """How often each sample is in each resample, shape (RESAMPLES, n_samples)."""
    draws = np.random.default_rng(SEED)
    return np.stack(
        [
            np.bincount(draws.integers(n_samples, size=n_samples), minlength=n_samples).astype(np.uint16)
            for _ in range(RESAMPLES)
        ]
    )
