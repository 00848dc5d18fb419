"""What the corpus tools know of one sample: facts read from its canonical text, its picture, its leaks.

Runs in worker processes. Statistics, duplicates and splits are made from these facts elsewhere.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from captioning.corpus import Sample
from captioning.pipeline import as_bytes
from rendering import Drawing, Limits, Rasterizer, RenderError, SvgRejected, canonicalize, load
from rendering.decode import decode
from rendering.parse import parse
from rendering.paths import parse_path
from training.corpora.leaks import DRAWN_TEXT, Extent, leaks, words_by_place
from training.corpora.render_hash import RENDER_SIZE_PX, RenderHash, render_hash

_SHAPES = frozenset("path rect circle ellipse line polyline polygon text image".split())
_ALL = 1 << 30  # segments of a path; the limits held when it was loaded


@dataclass(frozen=True)
class Facts:
    """Of one sample that can be used."""

    canonical: str
    digest: str  # of the canonical text
    render_hash: RenderHash
    elements: int = 0  # in the canonical text, without the root
    path_commands: int = 0
    colours: int = 0
    has_text: bool = False
    leaks: dict[str, Extent] = field(default_factory=dict)  # by place, in the file as it came
    canonical_leaks: dict[str, Extent] = field(default_factory=dict)  # in what a model reads


def digest(canonical: str) -> str:
    return hashlib.sha256(canonical.encode()).hexdigest()


def canonical_digest(sample: Sample) -> str | None:
    """Of the sample's canonical text; None where the drawing is refused."""
    try:
        return digest(canonicalize(load(as_bytes(sample.svg))))
    except SvgRejected:
        return None


def identify(sample: Sample) -> Facts | str:
    """What tells drawings apart, or the reason why the sample cannot be used."""
    try:
        drawing = load(as_bytes(sample.svg))
        canonical = canonicalize(drawing)
        return Facts(canonical, digest(canonical), picture_hash(drawing))
    except SvgRejected as error:
        return f"refused: {error.code}"
    except RenderError as error:
        return f"no picture: {error.code}"


def examine(sample: Sample) -> Facts | str:
    """All facts of a sample, or the reason why it cannot be used."""
    found = identify(sample)
    if isinstance(found, str):
        return found
    raw, _ = parse(decode(as_bytes(sample.svg), Limits()), Limits())
    canonical = ElementTree.fromstring(found.canonical)  # noqa: S314  # sanitized
    shapes = [element for element in canonical.iter() if element.tag in _SHAPES]
    return Facts(
        found.canonical,
        found.digest,
        found.render_hash,
        elements=sum(1 for _ in canonical.iter()) - 1,
        path_commands=sum(len(parse_path(shape.get("d", ""), _ALL)) for shape in shapes),
        colours=len(set(_colours(canonical, "#000", "none"))),
        has_text=any(shape.tag == "text" for shape in shapes),
        leaks=leaks(sample.references, words_by_place(raw, sample.id)),
        canonical_leaks=_without_drawn_text(leaks(sample.references, words_by_place(canonical))),
    )


def picture_hash(drawing: Drawing) -> RenderHash:
    """The render hash of a drawing.

    Raises:
        RenderError: there is no picture within the limits, or nothing is seen on it.
    """
    png = _rasterizer(os.getpid()).render(drawing, size_px=RENDER_SIZE_PX, background="auto")
    found = render_hash(png)
    if found is None:
        raise RenderError("the picture is of one colour: nothing is seen", "blank")
    return found


@cache
def _rasterizer(process: int) -> Rasterizer:  # a pool does not cross a fork
    return Rasterizer()


def _without_drawn_text(found: dict[str, Extent]) -> dict[str, Extent]:
    return {place: extent for place, extent in found.items() if place != DRAWN_TEXT}


def _colours(element: Element, fill: str, stroke: str) -> Iterator[str]:
    """Fill, stroke and gradient colours in use, inherited ones included."""
    fill, stroke = element.get("fill", fill), element.get("stroke", stroke)
    if element.tag in _SHAPES:
        yield from (colour for colour in (fill, stroke) if colour != "none" and not colour.startswith("url"))
    elif element.tag == "stop":
        yield element.get("stop-color", "#000")
    for child in element:
        yield from _colours(child, fill, stroke)
