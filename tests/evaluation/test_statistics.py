"""Samples, corpus and bootstrap from one set of summable statistics."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.metrics.statistics import Floats, Measured, mean_of


def test_a_mean_and_its_interval() -> None:
    scores = np.random.default_rng(0).normal(5.0, 2.0, size=400)
    measured = mean_of("score", scores, "signature")
    interval = measured.interval()
    assert interval is not None
    assert measured.corpus_score() == pytest.approx(scores.mean())
    assert np.diff(interval) == pytest.approx(2 * 1.96 * scores.std() / 20, rel=0.1)
    assert interval == measured.interval()


def test_the_interval_is_of_the_corpus_score_not_of_a_mean() -> None:
    def ratio(sums: Floats) -> Floats:
        return sums[..., 0] / sums[..., 1]

    measured = Measured("ratio", np.array([[1.0, 1.0], [1.0, 10.0], [9.0, 10.0]]), ratio, "signature")
    assert measured.corpus_score() == pytest.approx(11 / 21)
    assert measured.sample_scores().tolist() == [1.0, 0.1, 0.9]
    assert measured.interval() == pytest.approx((0.1, 1.0))


def test_what_could_not_be_scored_is_neither_zero_nor_in_the_mean() -> None:
    measured = mean_of("score", [1.0, np.nan, 3.0, 5.0], "signature").only(
        np.array([True, True, True, False])
    )
    assert measured.corpus_score() == 2.0
    assert measured.n_scored == 2
    np.testing.assert_array_equal(measured.sample_scores(), [1.0, np.nan, 3.0, np.nan])


def test_one_sample_has_no_interval() -> None:
    assert mean_of("score", [1.0], "signature").interval() is None


@pytest.mark.parametrize("kind", ["mean", "share", "ratio"])
def test_the_95_percent_interval_holds_the_truth_in_93_to_97_percent_of_worlds(kind: str) -> None:
    draws = np.random.default_rng(5)
    shape = (1_000, 200)  # worlds, samples
    lengths = draws.integers(3, 20, size=shape).astype(float)
    right, asked, truth = {
        "mean": (draws.exponential(2.0, size=shape), np.ones(shape), 2.0),
        "share": ((draws.random(shape) < 0.3).astype(float), np.ones(shape), 0.3),
        "ratio": (draws.binomial(lengths.astype(int), 0.4).astype(float), lengths, 0.4),
    }[kind]
    held = 0
    for sums in np.stack([right, asked], axis=2):
        interval = Measured(kind, sums, lambda found: found[..., 0] / found[..., 1], "s").interval()
        assert interval is not None
        held += interval[0] <= truth <= interval[1]
    assert 0.93 <= held / shape[0] <= 0.97
