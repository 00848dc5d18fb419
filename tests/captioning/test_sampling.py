from __future__ import annotations

import random

import pytest
import torch

from captioning.sampling import NOT_A_NUMBER, choose


def test_draws_follow_the_chances_at_their_temperature() -> None:
    chances = torch.tensor([0.1, 0.6, 0.0, 0.3])
    rng = random.Random(1)
    count = 20_000
    logits = chances.log().expand(count, 4)
    tokens = torch.tensor(choose(logits, [1.0] * count, [rng.random() for _ in range(count)]))
    torch.testing.assert_close(tokens.bincount(minlength=4) / count, chances, atol=0.01, rtol=0)
    sharper = torch.tensor(choose(logits, [0.5] * count, [rng.random() for _ in range(count)]))
    squares = chances**2 / (chances**2).sum()
    torch.testing.assert_close(sharper.bincount(minlength=4) / count, squares, atol=0.01, rtol=0)


def test_rows_are_chosen_each_by_its_own() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [0.0, 2.0, 1.0], [0.0, 0.0, 0.0]])
    assert choose(logits, [0.0, 1.0, 1.0], [0.5, 0.0, 0.999999]) == [1, 0, 2]
    assert choose(logits[1:], [1.0, 1.0], [0.0, 0.999999]) == [0, 2]


@pytest.mark.parametrize("temperature", [1e-4, 1e-40, 5e-324])
def test_the_lowest_temperatures_are_those_of_greedy_texts(temperature: float) -> None:
    logits = torch.tensor([[0.0, 20.0, 10.0]])
    assert choose(logits, [temperature], [0.999999]) == [1]


def test_suppressed_tokens_are_never_chosen() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0]]).expand(4, 3)
    assert choose(logits, [0.0, 1.0, 1.0, 9.0], [0.0, 0.0, 0.999999, 0.0], suppressed=[0]) == [1, 1, 2, 1]
    assert choose(logits, [0.0] * 4, [0.0] * 4, suppressed=[0, 1, 2]) == [NOT_A_NUMBER] * 4
    assert torch.equal(logits[0], torch.tensor([3.0, 2.0, 1.0]))


def test_tokens_are_excluded_from_one_row_alone() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0]]).expand(3, 3)
    assert choose(logits, [0.0] * 3, [0.0] * 3, excluded=[(1, 0), (2, 0), (2, 1)]) == [0, 1, 2]
    assert choose(logits, [1.0] * 3, [0.0] * 3, [0], excluded=[(1, 1)]) == [1, 2, 1]
    assert torch.equal(logits[2], torch.tensor([3.0, 2.0, 1.0]))


def test_what_is_not_finite_is_no_token() -> None:
    nan, inf = float("nan"), float("inf")
    logits = torch.tensor([[0.0, nan], [1.0, 0.0], [inf, 0.0]])
    assert choose(logits, [0.0, 0.0, 1.0], [0.1] * 3) == [NOT_A_NUMBER, 0, NOT_A_NUMBER]
