from __future__ import annotations

import numpy as np
import pytest

from captioning.matching import preference, recall


@pytest.mark.parametrize(("k", "expected"), [(1, 1 / 3), (2, 2 / 3), (3, 1.0)])
def test_recall_counts_what_comes_before_the_first_right_one(k: int, expected: float) -> None:
    likeness = np.array([[0.9, 0.1, 0.2], [0.8, 0.5, 0.1], [0.3, 0.2, 0.1]])
    assert recall(likeness, np.eye(3, dtype=bool), k) == pytest.approx(expected)


def test_any_of_several_right_ones_will_do() -> None:
    right = np.array([[False, True, True]])
    assert recall(np.array([[0.5, 0.1, 0.9]]), right, 1) == 1.0
    assert recall(np.array([[0.9, 0.1, 0.5]]), right, 1) == 0.0


def test_a_model_that_finds_everything_alike_finds_nothing() -> None:
    assert recall(np.ones((4, 4)), np.eye(4, dtype=bool), 3) == 0.0
    assert preference(np.ones(4), np.ones(4)) == 0.0


def test_preference_is_the_share_of_true_captions_that_win() -> None:
    assert preference(np.array([0.5, 0.5, 0.5, 0.5]), np.array([0.1, 0.9, 0.5, 0.4])) == 0.5
