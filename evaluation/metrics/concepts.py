"""Concept match: whether a caption names what the drawing shows, as whole words anywhere in it.

A sample's concept is its first tag, where its first reference names it too: tags of another kind ("pair",
a category) ask nothing. Nouns are equal to it that stand in its place in another reference: of "an icon
of a house with a plus" and "an icon of a home with a plus", house and home.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from captioning.corpus import Sample
from evaluation.errors import Unavailable
from evaluation.metrics.statistics import Measured, mean_of
from faithfulness.words import has_phrase, phrase_starts, without_articles

SIGNATURE = "concept_match|concept:first_tag_and_equals|words:whole|v:1"

Phrase = tuple[str, ...]


def concept_match(captions: Sequence[str], samples: Sequence[Sample]) -> Measured:
    """The share of captions that name the concept; a sample without one is not scored.

    Raises:
        Unavailable: no sample has a concept.
    """
    concepts = [concept_phrases(sample) for sample in samples]
    if not any(concepts):
        raise Unavailable("no sample's first tag is in its first reference, so there is no concept to name")
    scores = [
        float(_names(caption, phrases)) if phrases else np.nan
        for caption, phrases in zip(captions, concepts, strict=True)
    ]
    return mean_of("concept_match", scores, SIGNATURE)


def concept_phrases(sample: Sample) -> frozenset[Phrase]:
    """The concept and its equals as words; none where the metric does not apply."""
    concept = tuple(without_articles(sample.tags[0])) if sample.tags else ()
    references = [without_articles(reference) for reference in sample.references]
    if not concept or not has_phrase(references[0], concept):
        return frozenset()
    frames = [frame for reference in references for frame in _frames(reference, concept)]
    others = [reference for reference in references if not has_phrase(reference, concept)]
    return frozenset((concept, *filter(None, (_in_place(other, frames) for other in others))))


def _names(caption: str, phrases: frozenset[Phrase]) -> bool:
    text = without_articles(caption)
    return any(has_phrase(text, phrase) for phrase in phrases)


def _frames(reference: list[str], concept: Phrase) -> Iterator[tuple[list[str], list[str]]]:
    """What stands before and after the concept, where something does."""
    for start in range(len(reference) - len(concept) + 1):
        if phrase_starts(reference[start:], concept) and len(reference) > len(concept):
            yield reference[:start], reference[start + len(concept) :]


def _in_place(reference: list[str], frames: Sequence[tuple[list[str], list[str]]]) -> Phrase:
    """What stands in the concept's place, by the frame that leaves the fewest words; nothing if none fits."""
    fits = [
        tuple(reference[len(before) : len(reference) - len(after)])
        for before, after in frames
        if len(reference) > len(before) + len(after)
        and reference[: len(before)] == before
        and reference[len(reference) - len(after) :] == after
    ]
    return min(fits, key=len, default=())
