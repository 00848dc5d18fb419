"""What captions look like beside the references: length, variety, repetition, language."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from captioning.corpus import Sample

_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)?")
_PHRASE = 3  # words: a caption that says the same three twice repeats itself
_FEW_WORDS = 4  # in which no common word need be
_COMMON = frozenset(
    """a an the of in on with and at to is are by for from that it its or as this into two three four left
    right above below inside around next text letter word icon""".split()
)


class CaptionStatistics(BaseModel):
    """Of a captioner's captions, empty ones left out; shares are of these captions."""

    model_config = ConfigDict(frozen=True)

    words: float  # a caption has on average
    length_ratio: float  # words to those of the reference that is nearest in length, all captions together
    distinct: float  # different captions by captions
    most_common: tuple[str, int] | None  # the caption that is said most often, and how often
    repetitive: float  # share that says the same three words twice
    not_english: float  # share with letters of another script, or with none of the common English words


def caption_statistics(captions: Sequence[str | None], samples: Sequence[Sample]) -> CaptionStatistics | None:
    """None where there is no caption."""
    pairs = [(text, sample) for text, sample in zip(captions, samples, strict=True) if text and text.strip()]
    if not pairs:
        return None
    texts = [text for text, _ in pairs]
    lengths = [len(words(text)) for text in texts]
    nearest = [
        min((len(words(reference)) for reference in sample.references), key=lambda length: abs(length - own))
        for own, (_, sample) in zip(lengths, pairs, strict=True)
    ]
    return CaptionStatistics(
        words=sum(lengths) / len(texts),
        length_ratio=sum(lengths) / max(sum(nearest), 1),
        distinct=len(set(texts)) / len(texts),
        most_common=Counter(texts).most_common(1)[0],
        repetitive=sum(map(repeats_itself, texts)) / len(texts),
        not_english=sum(not seems_english(text) for text in texts) / len(texts),
    )


def words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def repeats_itself(text: str) -> bool:
    said = words(text)
    phrases = [tuple(said[start : start + _PHRASE]) for start in range(len(said) - _PHRASE + 1)]
    return len(set(phrases)) < len(phrases)


def seems_english(text: str) -> bool:
    """A check for what went wrong, not a detector of languages: a short caption passes with Latin letters."""
    said = words(text)
    letters = [char for word in said for char in word if char.isalpha()]
    latin = sum(char < "\u0250" for char in letters)
    if latin < 0.8 * len(letters):
        return False
    return len(said) <= _FEW_WORDS or any(word in _COMMON for word in said)
