"""Words of a caption, compared without case, hyphens and number: what concepts and claims are found by."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

_WORD = re.compile(r"[^\W_]+|[,;:.!?]")
_ARTICLE = re.compile(r"(?:^\s*(?:An?|The)|\b(?:an?|the))\b(?![-'’])")  # noqa: RUF001
_IRREGULAR = {
    "people": "person",
    "men": "man",
    "women": "woman",
    "children": "child",
    "feet": "foot",
    "teeth": "tooth",
    "mice": "mouse",
    "geese": "goose",
    "snowmen": "snowman",
    "cacti": "cactus",
    "vertices": "vertex",
}
_OWN_MEANING = frozenset(("glasses", "news"))  # a glass and something new are other things


def words(text: str) -> list[str]:
    """Words and stops (`, ; : . ! ?`) in lower case; a hyphen parts two words."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def without_articles(text: str) -> list[str]:
    """The words alone, without articles; the "A" of "the letter A" is none."""
    return [word for word in words(_ARTICLE.sub(" ", text)) if word[0].isalnum()]


@lru_cache(maxsize=100_000)
def readings(word: str) -> frozenset[str]:
    """The word, and each singular that it may be the plural of."""
    return frozenset((word, *_singulars(word)))


def has_phrase(text: Sequence[str], phrase: Sequence[str]) -> bool:
    """Whether all words of the phrase stand in the text one after the other, in singular or plural."""
    return any(phrase_starts(text[start:], phrase) for start in range(len(text) - len(phrase) + 1))


def phrase_starts(text: Sequence[str], phrase: Sequence[str]) -> bool:
    """Whether the text begins with the phrase."""
    return len(text) >= len(phrase) and all(
        readings(one) & readings(other) for one, other in zip(text, phrase, strict=False)
    )


def _singulars(word: str) -> Iterator[str]:
    if word in _OWN_MEANING:
        return
    if word in _IRREGULAR:
        yield _IRREGULAR[word]
    if len(word) < 3 or not word.endswith("s") or word.endswith("ss"):
        return
    yield word[:-1]
    if word.endswith(("ches", "shes", "ses", "xes", "zes", "oes")):
        yield word[:-2]
    if word.endswith("ies"):
        yield f"{word[:-3]}y"
    if word.endswith("ves"):
        yield from (f"{word[:-3]}f", f"{word[:-3]}fe")
