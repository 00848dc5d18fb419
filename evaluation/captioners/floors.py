"""Floors: captioners that see no drawing. What they score, a metric gives for style or for a label."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree

from captioning.corpus import Sample
from captioning.pipeline import as_bytes
from evaluation.candidates import Candidate
from rendering import SvgRejected, load

_SHUFFLE_SEED = 20_240_601


class ConstantCaptioner:
    """The same caption for every drawing."""

    def __init__(self, caption: str) -> None:
        self._caption = caption

    def caption(self, samples: Sequence[Sample]) -> Iterator[Candidate]:
        for sample in samples:
            yield Candidate(id=sample.id, caption=self._caption)


class ShuffledCaptioner:
    """For each drawing the first reference of another one: the right style about the wrong drawing."""

    def __init__(self, split: Sequence[Sample]) -> None:
        order = list(split)
        random.Random(_SHUFFLE_SEED).shuffle(order)
        neighbours = zip(order, [*order[1:], *order[:1]], strict=True)
        self._captions = {sample.id: other.references[0] for sample, other in neighbours}

    def caption(self, samples: Sequence[Sample]) -> Iterator[Candidate]:
        for sample in samples:
            yield Candidate(id=sample.id, caption=self._captions[sample.id])


class TitleCaptioner:
    """The drawing's own title, or else its description: what a label gives away without a look."""

    def caption(self, samples: Sequence[Sample]) -> Iterator[Candidate]:
        for sample in samples:
            try:
                yield Candidate(id=sample.id, caption=own_title(load(as_bytes(sample.svg)).svg))
            except SvgRejected as error:
                yield Candidate.of(sample.id, error)


def own_title(svg: str) -> str:
    """The first title or desc of a sanitized drawing that says something; empty where none does."""
    root = ElementTree.fromstring(svg)  # noqa: S314  # sanitized
    said = (
        " ".join("".join(element.itertext()).split())
        for name in ("title", "desc")
        for element in root.iter()
        if element.tag.rpartition("}")[2] == name
    )
    return next(filter(None, said), "")


def typical_caption(captions: Sequence[str]) -> str:
    """The caption whose words are the most common ones: a constant that is hard to beat.

    It has the largest cosine between the set of its words and the counts of all captions' words.
    """
    word_sets = [frozenset(caption.lower().split()) for caption in captions]
    counts = Counter(word for words in word_sets for word in words)

    def typicality(index: int) -> tuple[float, str]:
        words = word_sets[index]
        return sum(counts[word] for word in words) / len(words) ** 0.5, captions[index]

    return captions[max(range(len(captions)), key=typicality)]
