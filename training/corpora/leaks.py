"""Does a file say in words what its caption says? The model must not read the answer there.

A raw file often does: `<title>`, ids, classes, its own name. The canonical text has none of these; that
it stays so is checked on each sample. Words that the drawing itself shows, in `<text>`, are no leak and
are counted as a place of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal
from xml.etree.ElementTree import Element

Extent = Literal["caption", "all words", "some words"]
"""The whole caption as it stands, all of its content words, or at least one of them."""

EXTENTS: tuple[Extent, ...] = ("caption", "all words", "some words")
PLACES = ("title", "desc", "id", "class", "aria-label", "label", "data", "file name", "drawn text")
DRAWN_TEXT = "drawn text"

_COMMON_WORDS = frozenset(
    (
        "a an and are as at behind below beside between above by for from has have in inside into is it its "
        "of on one onto or out over that the their them there this to under up with without "
        "depict depicts depicted depicting drawing graphic icon icons illustration image logo picture "
        "represent representing represents show showing shown shows sign style svg symbol vector"
    ).split()
)
_WORD = re.compile(r"[^\W\d_]{2,}")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def content_words(text: str) -> frozenset[str]:
    """Words of two letters and more in the singular and in lower case, without those that say nothing."""
    words = _WORD.findall(_CAMEL.sub(" ", text).lower())
    return frozenset(_singular(word) for word in words if word not in _COMMON_WORDS)


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def words_by_place(root: Element, name: str = "") -> dict[str, str]:
    """What stands at each place of a parsed file; `name` is the file's own name."""
    found: dict[str, list[str]] = {"file name": [name]}
    for place, text in _texts(root):
        found.setdefault(place, []).append(text)
    return {place: joined for place, texts in found.items() if (joined := " ".join(texts).strip())}


def leaks(references: Sequence[str], places: dict[str, str]) -> dict[str, Extent]:
    """The places that give away a reference, each with the most that stands there of any of them."""
    extents = {place: _extent(references, text) for place, text in places.items()}
    return {place: extent for place, extent in extents.items() if extent}


def _extent(references: Sequence[str], text: str) -> Extent | None:
    words, plain = content_words(text), _plain(text)
    wanted = [content_words(reference) for reference in references]
    if any((caption := _plain(reference)) and f" {caption} " in f" {plain} " for reference in references):
        return "caption"
    if any(each and each <= words for each in wanted):
        return "all words"
    return "some words" if any(each & words for each in wanted) else None


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", _CAMEL.sub(" ", text).lower()))


def _texts(root: Element) -> Iterator[tuple[str, str]]:
    for element in root.iter():
        tag = element.tag.rpartition("}")[2]
        if tag in ("title", "desc", "metadata"):
            yield ("title" if tag == "title" else "desc"), " ".join(element.itertext())
        elif tag == "text":
            yield DRAWN_TEXT, " ".join(element.itertext())
        yield from _attributes(element.attrib.items())


def _attributes(attributes: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for name, value in attributes:
        local = name.rpartition("}")[2]
        if local in ("id", "class", "aria-label"):
            yield local, value
        elif local in ("label", "docname", "export-filename"):  # editors keep layer and file names
            yield "label", value
        elif local.startswith("data-"):
            yield "data", f"{local.removeprefix('data-')} {value}"
