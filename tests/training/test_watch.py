from __future__ import annotations

import math

import pytest

from training.watch import diagnose


@pytest.mark.parametrize(
    ("loss", "norm", "words"),
    [
        (math.nan, 1.0, "precision=bf16"),
        (1.0, math.inf, "precision=bf16"),
        (0.0, math.nan, "precision=bf16"),
        (0.0, 1.0, "every label is masked"),
        (1.0, 0.0, "target_modules"),
    ],
)
def test_what_is_wrong_with_a_step_is_said(loss: float, norm: float, words: str) -> None:
    assert words in (diagnose(loss, norm) or "")


def test_weights_that_take_no_part_are_named() -> None:
    words = diagnose(1.0, 1.0, ["model.layers.0.lora_A", "model.layers.1.lora_A"])
    assert words is not None
    assert "2 trainable weights" in words
    assert "'model.layers.0.lora_A'" in words


def test_an_ordinary_step_has_no_diagnosis() -> None:
    assert diagnose(2.3, 0.7) is None
