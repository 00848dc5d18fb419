"""Captioners against the first: the differences, and the intervals around them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from evaluation.comparison import LEVEL, claim, compare_all, n_tests
from evaluation.metrics import statistics
from evaluation.metrics.statistics import (
    Floats,
    Measured,
    holm,
    mean_of,
    paired_difference,
    randomization_p,
)


def _ratio(sums: Floats) -> Floats:
    return sums[..., 0] / sums[..., 1]


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
    nan = np.nan
    one = Measured("ratio", np.array([[1.0, 1.0], [1.0, 10.0], [nan, nan], [5.0, 9.0]]), _ratio, "s")
    other = Measured("ratio", np.array([[0.0, 1.0], [4.0, 10.0], [9.0, 9.0], [nan, nan]]), _ratio, "s")
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


def test_every_captioner_is_compared_with_all_before_it_in_all_and_by_source() -> None:
    scores = {"base": [0.0, 0.0, 0.0, 0.0], "adapter": [1.0, 1.0, 0.5, 0.5], "floor": [0.0, 0.0, 0.0, 1.0]}
    measured = {name: {"score": mean_of("score", values, "s")} for name, values in scores.items()}
    measured["floor"]["more"] = mean_of("more", [1.0] * 4, "s")
    groups = {"icons": np.array([True, True, False, False]), "scenes": np.array([False, False, True, True])}
    adapter, floor, floor_to_adapter = compare_all(measured, groups)
    assert (adapter.captioner, adapter.baseline) == ("adapter", "base")
    assert (floor_to_adapter.captioner, floor_to_adapter.baseline) == ("floor", "adapter")
    assert adapter.differences["score"].difference == 0.75
    assert {name: found["score"].difference for name, found in adapter.by_source.items()} == {
        "icons": 1.0,
        "scenes": 0.5,
    }
    assert adapter.by_source["icons"]["score"].p is None, "nothing is claimed of a source"
    assert list(floor.differences) == ["score"], "the baseline has no other score"
    assert n_tests([adapter, floor, floor_to_adapter]) == 3
    assert compare_all({}, groups) == ()
    assert compare_all({"base": measured["base"]}, groups) == ()


def test_holms_correction_multiplies_the_smallest_most_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_p_value_is_that_of_all_exchanges() -> None:
    draws = np.random.default_rng(3)
    ours, theirs = draws.normal(0.6, 1.0, size=10), draws.normal(0.0, 1.0, size=10)
    found = np.abs((ours - theirs).mean())
    signs = np.array(list(itertools.product((-1, 1), repeat=10)))
    exact = (np.abs((signs * (ours - theirs)).mean(axis=1)) >= found - 1e-12).mean()
    p = randomization_p({"score": mean_of("score", ours, "s")}, {"score": mean_of("score", theirs, "s")})
    assert 0.01 < exact < 0.5
    assert p["score"] == pytest.approx(exact, abs=0.01)


def test_the_p_value_is_of_the_corpus_score_and_of_shared_samples() -> None:
    nan = np.nan
    one = Measured("ratio", np.array([[9.0, 10.0], [1.0, 1.0], [nan, nan], [5.0, 5.0]]), _ratio, "s")
    other = Measured("ratio", np.array([[1.0, 10.0], [0.0, 1.0], [9.0, 9.0], [nan, nan]]), _ratio, "s")
    p = randomization_p({"ratio": one}, {"ratio": other})["ratio"]
    assert p == pytest.approx(0.5, abs=0.02), "9/11 apart in two of four exchanges, 7/11 in the others"
    assert randomization_p({"ratio": one.only(np.array([True, False, True, True]))}, {"ratio": other}) == {}


def test_captioners_that_are_alike_are_rarely_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "SHUFFLES", 500)
    draws = np.random.default_rng(11)
    trials = 1_000
    skills = draws.normal(size=(trials, 60))  # what both captioners find easy or hard
    scores = [skills + draws.exponential(size=skills.shape) for _ in range(2)]
    p_values = [
        randomization_p({"score": mean_of("score", ours, "s")}, {"score": mean_of("score", theirs, "s")})
        for ours, theirs in zip(*scores, strict=True)
    ]
    false_positives = np.mean([p["score"] < LEVEL for p in p_values])
    assert 0.03 < false_positives <= 0.06


def test_what_may_be_claimed_is_said_in_words() -> None:
    draws = np.random.default_rng(0)
    noise = draws.normal(size=200)
    measured = {
        name: {
            "up": mean_of("up", noise + gain, "s"),
            "down": mean_of("down", noise - gain, "s"),
            "same": mean_of("same", draws.normal(size=200), "s"),
        }
        for name, gain in (("base", 0.0), ("adapter", 0.4))
    }
    [found] = compare_all(measured, {})
    assert claim(found, {"up": "BLEU-4", "down": "CIDEr", "same": "METEOR"}) == (
        "adapter against base: adapter is better in BLEU-4, is worse in CIDEr and shows no difference in "
        "METEOR (which does not make them equal)."
    )
    assert "was not tested" in claim(found, {})
