"""Which captions name the concept, and which samples have one."""

from __future__ import annotations

import numpy as np
import pytest

from captioning.corpus import Sample
from evaluation.errors import Unavailable
from evaluation.metrics.concepts import concept_match, concept_phrases
from faithfulness.words import has_phrase, without_articles


def _sample(tag: str, *references: str) -> Sample:
    return Sample(id=tag, svg="<svg/>", references=references, tags=(tag, "other"))


BELL = _sample("bell", "An outline icon of a bell.", "A bell.")
HOUSE = _sample(
    "house",
    "An outline icon of a house with a plus sign.",
    "A house with a plus sign.",
    "An outline icon of a home with a plus sign.",
)


@pytest.mark.parametrize(
    ("sample", "caption", "named"),
    [
        (BELL, "An outline icon of a bell with a slash.", True),
        (BELL, "BELL", True),
        (BELL, "Two bells", True),
        (BELL, "A bell-shaped icon.", True),
        (BELL, "A doorbell.", False),
        (BELL, "A belly.", False),
        (BELL, "An icon of a circle.", False),
        (BELL, "", False),
        (HOUSE, "A home.", True),
        (HOUSE, "A simple house", True),
        (HOUSE, "A plus sign.", False),
        (_sample("paper plane", "A paper plane."), "an icon of paper-planes", True),
        (_sample("paper plane", "A paper plane."), "A plane made of paper.", False),
        (_sample("letter A", "The letter A in a circle."), "An icon of the letter A.", True),
        (_sample("letter A", "The letter A in a circle."), "An icon of the letter B.", False),
        (_sample("documents", "Documents with a slash."), "A document.", True),
        (_sample("bus", "A bus."), "Three buses.", True),
        (_sample("leaf", "A leaf."), "Green leaves.", True),
        (_sample("glasses", "Glasses."), "A glass of water.", False),
        (_sample("car", "A car."), "Take care.", False),
    ],
)
def test_whole_words_name_a_concept_in_any_number(sample: Sample, caption: str, named: bool) -> None:
    assert concept_match([caption], [sample]).corpus_score() == named


def test_equal_nouns_stand_in_the_concepts_place() -> None:
    assert concept_phrases(HOUSE) == {("house",), ("home",)}
    face = _sample("face", "A sad teal face.", "A frowning emoji.", "A teal face that looks sad.")
    assert concept_phrases(face) == {("face",)}
    menu = _sample("hamburger menu", "A filled icon of a hamburger menu.", "A filled icon of three lines.")
    assert concept_phrases(menu) == {("hamburger", "menu"), ("three", "lines")}


def test_a_sample_without_a_concept_is_not_scored() -> None:
    pair = _sample("pair", "A red circle above a blue star.")
    untagged = Sample(id="untagged", svg="<svg/>", references=("A bell.",))
    found = concept_match(["A bell.", "A pair.", "A bell."], [BELL, pair, untagged])
    np.testing.assert_array_equal(found.sample_scores(), [1.0, np.nan, np.nan])
    with pytest.raises(Unavailable, match="no sample's first tag"):
        concept_match(["A pair."], [pair])


def test_a_phrase_longer_than_the_text_is_not_in_it() -> None:
    assert not has_phrase(["paper"], ["paper", "plane"])
    assert without_articles("A bell, the letter A and an x.") == ["bell", "letter", "a", "and", "x"]
