"""What a text claims, and when it claims the same as a reference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from captioning.corpus import read_corpus
from evaluation.errors import Unavailable
from evaluation.metrics.claims import (
    colour_accuracy,
    colours,
    count_accuracy,
    counts,
    shape_accuracy,
    shapes,
)
from evaluation.suite import SUITES


@pytest.mark.parametrize(
    ("claims_of", "text", "claims"),
    [
        (colours, "A Grey cup and a gray-blue cat.", "gray gray blue"),
        (colours, "A violet infrared lamp.", "purple"),
        (colours, "A sailboat.", ""),
        (shapes, "Two circles, a half-circle and an ellipse.", "circle semicircle oval"),
        (shapes, "Crosses, a rhombus, a starfish and a semicircle.", "cross diamond semicircle"),
        (counts, "Nine small black rings scattered around.", "9"),
        (counts, "A group of nine green hexagons in a grid.", "9"),
        (counts, "Four shapes in the four corners: a ring, a star, 2 hearts.", "4 1 1 2"),
        (counts, "An outline icon of a bell with a slash.", "1 1"),
        (counts, "The number 99 in white on a pink circle.", "1"),
        (counts, "Three purple rings above five teal rectangles on a blue background.", "3 5"),
        (counts, "One red car next to a tree.", "1 1"),
    ],
)
def test_claims(claims_of: Callable[[str], Counter[str]], text: str, claims: str) -> None:
    assert claims_of(text) == Counter(claims.split())


def test_a_caption_is_right_that_claims_what_any_one_reference_claims() -> None:
    references = [["A red star above two blue stars.", "Three stars: a red one and two blue ones."]]
    for right in (
        "Two blue stars below a red star.",
        "a scarlet star, two blue stars",
        "Three stars, a red one, two blue ones.",
    ):
        assert colour_accuracy([right], references).corpus_score() == 1
        assert count_accuracy([right], references).corpus_score() == 1
    assert shape_accuracy(["A star below two blue stars"], references).corpus_score() == 1
    for wrong in ("A red star above three blue hearts and a blue cat.", "", " "):
        assert colour_accuracy([wrong], references).corpus_score() == 0
        assert shape_accuracy([wrong], references).corpus_score() == 0
        assert count_accuracy([wrong], references).corpus_score() == 0


def test_what_no_reference_claims_is_not_scored() -> None:
    references = [["A bell."], ["A red circle."], ["Three bells."]]
    captions = ["A red bell."] * 3
    nan = np.nan
    np.testing.assert_array_equal(colour_accuracy(captions, references).sample_scores(), [nan, 1, nan])
    np.testing.assert_array_equal(shape_accuracy(captions, references).sample_scores(), [nan, 0, nan])
    np.testing.assert_array_equal(count_accuracy(captions, references).sample_scores(), [nan, nan, 0])
    with pytest.raises(Unavailable, match="no reference names a shape"):
        shape_accuracy(captions[:1], references[:1])


def test_every_reference_of_the_embedded_suite_is_right_about_its_own_drawing() -> None:
    samples = list(read_corpus(SUITES / "embedded" / "test.jsonl"))
    references = [sample.references for sample in samples]
    for captions in ([texts[0] for texts in references], [texts[-1] for texts in references]):
        for accuracy in (colour_accuracy, shape_accuracy, count_accuracy):
            assert accuracy(captions, references).corpus_score() == 1
