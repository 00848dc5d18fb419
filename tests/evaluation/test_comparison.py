"""Captioners against the first: the differences, and the intervals around them."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.comparison import compare_with_first
from evaluation.metrics.statistics import Floats, Measured, mean_of, paired_difference


def test_a_paired_interval_is_of_the_differences_not_of_the_scores() -> None:
    draws = np.random.default_rng(0)
    hard = draws.normal(0.0, 10.0, size=400)  # samples differ much, captioners little
    gain = draws.normal(0.5, 1.0, size=400)
    found = paired_difference(mean_of("score", hard + gain, "s"), mean_of("score", hard, "s"))
    assert found is not None
    assert found.difference == pytest.approx(gain.mean())
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.difference < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * gain.std() / 20, rel=0.1)


def test_a_difference_is_of_corpus_scores_on_shared_samples() -> None:
    def ratio(sums: Floats) -> Floats:
        return sums[..., 0] / sums[..., 1]

    nan = np.nan
    one = Measured("ratio", np.array([[1.0, 1.0], [1.0, 10.0], [nan, nan], [5.0, 9.0]]), ratio, "s")
    other = Measured("ratio", np.array([[0.0, 1.0], [4.0, 10.0], [9.0, 9.0], [nan, nan]]), ratio, "s")
    found = paired_difference(one, other)
    assert found is not None
    assert found.n == 2
    assert found.difference == pytest.approx(2 / 11 - 4 / 11)
    back = paired_difference(other, one)
    assert back is not None
    assert found.low is not None
    assert found.high is not None
    assert back.low == pytest.approx(-found.high)
    assert back.high == pytest.approx(-found.low)


def test_without_shared_samples_there_is_no_difference_and_of_one_no_interval() -> None:
    nan = np.nan
    one, other = mean_of("score", [1.0, nan, 2.0], "s"), mean_of("score", [nan, 1.0, 0.5], "s")
    assert paired_difference(one.only(np.array([True, True, False])), other) is None
    single = paired_difference(one, other)
    assert single is not None
    assert (single.difference, single.low, single.high, single.n) == (1.5, None, None, 1)


def test_all_captioners_are_compared_with_the_first_in_all_and_by_source() -> None:
    scores = {"base": [0.0, 0.0, 0.0, 0.0], "adapter": [1.0, 1.0, 0.5, 0.5], "floor": [0.0, 0.0, 0.0, 1.0]}
    measured = {name: {"score": mean_of("score", values, "s")} for name, values in scores.items()}
    measured["floor"]["more"] = mean_of("more", [1.0] * 4, "s")
    groups = {"icons": np.array([True, True, False, False]), "scenes": np.array([False, False, True, True])}
    adapter, floor = compare_with_first(measured, groups)
    assert (adapter.captioner, adapter.baseline) == ("adapter", "base")
    assert adapter.differences["score"].difference == 0.75
    assert {name: found["score"].difference for name, found in adapter.by_source.items()} == {
        "icons": 1.0,
        "scenes": 0.5,
    }
    assert list(floor.differences) == ["score"], "the baseline has no other score"
    assert list(compare_with_first({}, groups)) == []
    assert list(compare_with_first({"base": measured["base"]}, groups)) == []
