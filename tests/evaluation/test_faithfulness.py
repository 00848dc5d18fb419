"""Faithfulness as a metric: sums over samples, and what is not scored."""

from __future__ import annotations

import numpy as np
import pytest

from captioning.corpus import Sample
from evaluation.metrics.faithfulness import facts_of, faithfulness


def test_claims_are_added_up_over_samples(samples: list[Sample]) -> None:
    score, precision, recall = faithfulness(
        ["a red circle", "a red circle and a red star", "a drawing", ""], facts_of(samples[:4])
    )
    assert precision.sample_scores() == pytest.approx([1.0, 0.25, 0.0, 0.0])
    assert recall.sample_scores() == pytest.approx([1.0, 0.5, 0.0, 0.0])
    assert precision.corpus_score() == pytest.approx(3 / 6)
    assert recall.corpus_score() == pytest.approx(3 / 8)
    assert score.corpus_score() == pytest.approx(2 * 0.5 * 0.375 / 0.875)
    assert score.details == {"undecidable_rate": 0.0}


def test_a_drawing_with_nothing_to_tell_is_not_scored(samples: list[Sample]) -> None:
    blank = samples[0].model_copy(
        update={"svg": '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"/>'}
    )
    broken = samples[0].model_copy(update={"svg": "no drawing"})
    for measured in faithfulness(["a red circle"] * 3, facts_of([blank, broken, samples[0]])):
        assert np.isnan(measured.sample_scores()).tolist() == [True, True, False]
