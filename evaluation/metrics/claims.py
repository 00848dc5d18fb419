"""Whether a caption says the same colours, shapes and numbers as a reference: text against text.

A text's claims are the words of a fixed vocabulary that stand in it, each as often as it is said, in any
order. A caption is right (1) when its claims equal those of one of its references, and wrong (0)
otherwise. Words are taken at face value: a fruit called orange counts as a colour. Whether the drawing
bears a caption out is another question.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from evaluation.errors import Unavailable
from evaluation.metrics.statistics import Measured, mean_of
from faithfulness.vocabulary import COLOURS, SHAPES, number
from faithfulness.words import phrase_starts, readings, words

Claims = Counter[str]

_ENDS = frozenset(
    """, ; : . ! ? the of in on at with without and or to from above below under over behind beside between
    inside outside around across near next by for that which whose is are it its into onto""".split()
)
"""What ends the noun phrase that a number begins; another number does too."""

_FRAMES = frozenset(
    """icon symbol drawing picture image illustration pattern background field row column grid group corner
    outline""".split()
)
"""Words of phrases that tell how a thing is shown or where: a group of nine stars is no tenth thing."""


def colours(text: str) -> Claims:
    """Colour names: the palette's twelve, and common words for them."""
    return Counter(COLOURS[word] for word in words(text) if word in COLOURS)


def shapes(text: str) -> Claims:
    """Shape words, in singular or plural."""
    return Counter(_shapes(words(text)))


def counts(text: str) -> Claims:
    """How many of something: number words, digits, and "a" as one, before words for a thing.

    "The number 7", "99 on a circle" and "an icon" count nothing.
    """
    tokens = words(text)
    return Counter(
        str(found)
        for index, token in enumerate(tokens)
        if (found := number(token)) is not None and _is_thing(tokens[index + 1 :])
    )


def colour_accuracy(captions: Sequence[str], references: Sequence[Sequence[str]]) -> Measured:
    return _agreement("colour_accuracy", "a colour", captions, references, claims_of=colours)


def shape_accuracy(captions: Sequence[str], references: Sequence[Sequence[str]]) -> Measured:
    return _agreement("shape_accuracy", "a shape", captions, references, claims_of=shapes)


def count_accuracy(captions: Sequence[str], references: Sequence[Sequence[str]]) -> Measured:
    """Asked where a reference counts two or more: nearly every caption says "a"."""
    return _agreement(
        "count_accuracy", "more than one thing", captions, references, claims_of=counts, asks=_is_plural
    )


def _agreement(
    name: str,
    claim: str,
    captions: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    claims_of: Callable[[str], Claims],
    asks: Callable[[Claims], bool] = bool,
) -> Measured:
    """Exact agreement with one reference; a sample is scored where one of its references makes a claim.

    Raises:
        Unavailable: no reference makes one.
    """
    scores = []
    for caption, texts in zip(captions, references, strict=True):
        claims = [claims_of(text) for text in texts]
        is_right = bool(caption.strip()) and claims_of(caption) in claims
        scores.append(float(is_right) if any(map(asks, claims)) else np.nan)
    if np.isnan(scores).all():
        raise Unavailable(f"no reference names {claim}")
    return mean_of(name, scores, f"{name}|exact|any_reference|vocabulary:1")


def _is_plural(claims: Claims) -> bool:
    return any(count != "1" for count in claims)


def _shapes(tokens: Sequence[str]) -> Iterator[str]:
    index = 0
    while index < len(tokens):
        found = [phrase for phrase in SHAPES if phrase_starts(tokens[index:], phrase)]
        longest = max(found, key=len, default=())
        if longest:
            yield SHAPES[longest]
        index += len(longest) or 1


def _is_thing(following: Sequence[str]) -> bool:
    """Whether a noun phrase follows that names a thing."""
    phrase = []
    for token in following:
        if token in _ENDS or number(token) is not None:
            break
        phrase.append(token)
    return bool(phrase) and not any(readings(word) & _FRAMES for word in phrase)
