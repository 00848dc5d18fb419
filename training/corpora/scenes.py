"""Generated scenes with known truth: `generate_scene(seed)` is one drawing, the same for ever.

The seed decides the kind of scene, its content, its colours and the SVG dialect that it is written
in; the phrasing follows the style, so that the same seed is the same drawing in either style.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from training.corpora.dialects import write_svg
from training.corpora.literal import literal
from training.corpora.object_scenes import counted_things, landscape, thing, two_things
from training.corpora.palette import SPARE, Ink, Palette
from training.corpora.shape_scenes import arrow, counted, lines, pair, pattern, several, single, two_groups
from training.corpora.sign_scenes import chart, face, flag, text
from training.corpora.sketch import SceneTruth, Sketch, Studio
from training.corpora.wording import a, sentence

Style = Literal["description", "alt", "literal"]
"""A full sentence; terse alt text (lower case, no article, no full stop); or shapes with colour and place."""

_HELD_OUT_SHARE = 10  # one combination of shape and colour in so many

_KINDS: dict[str, tuple[int, Callable[[Studio], Sketch]]] = {
    "single": (12, single),
    "pair": (16, pair),
    "several": (8, several),
    "counted": (10, counted),
    "two groups": (4, two_groups),
    "pattern": (3, pattern),
    "lines": (4, lines),
    "arrow": (4, arrow),
    "text": (8, text),
    "chart": (8, chart),
    "flag": (5, flag),
    "face": (5, face),
    "thing": (14, thing),
    "two things": (7, two_things),
    "counted things": (4, counted_things),
    "landscape": (3, landscape),
}

KINDS: tuple[str, ...] = tuple(_KINDS)
_PLAIN = frozenset(("single", "pair", "several", "counted", "two groups"))  # no ink but the things'
_WORD = re.compile(r"\w+")
_ARTICLE = re.compile(r"\ban? (\w+)")


@dataclass(frozen=True)
class Scene:
    svg: str
    truth: SceneTruth
    references: tuple[str, ...]  # the first is the plainest


def generate_scene(seed: int, style: Style = "description", kind: str | None = None) -> Scene:
    """The scene of this seed, of a kind drawn by weight unless one is named."""
    rng = random.Random(f"scene {seed}")
    name, sketch = _sketch(rng, kind)
    return _scene(name, sketch, style, rng)


def generate_known_scene(seed: int, style: Style = "description") -> Scene | None:
    """The scene of this seed without what is held out: such things are in a spare colour, or it is None.

    If they were left out, a corpus without black rectangles would teach that what is black is no rectangle.
    """
    rng = random.Random(f"scene {seed}")
    name, sketch = _sketch(rng)
    reserved = dict.fromkeys(item.colour for item in sketch.objects if _is_reserved(item.shape, item.colour))
    spare = [colour for colour in SPARE if (colour, sketch.background) != ("navy", "black")]
    if reserved and (name not in _PLAIN or len(reserved) > len(spare)):
        return None
    colours = dict(zip(reserved, rng.sample(spare, len(reserved)), strict=True))
    return _scene(name, _repainted(sketch, colours, Palette(rng)), style, rng)


def _sketch(rng: random.Random, kind: str | None = None) -> tuple[str, Sketch]:
    weights = [weight for weight, _ in _KINDS.values()]
    drawn = rng.choices(KINDS, weights)[0]
    name = kind or drawn
    return name, _KINDS[name][1](Studio(rng))


def _scene(name: str, sketch: Sketch, style: Style, rng: random.Random) -> Scene:
    svg = write_svg(sketch.marks, sketch.width, rng)
    truth = SceneTruth(name, sketch.objects, sketch.background, sketch.detail)
    return Scene(svg, truth, _references(sketch, style, rng))


def _repainted(sketch: Sketch, colours: dict[str, str], palette: Palette) -> Sketch:
    """The sketch with other colours; in plain kinds no two things share one, nor a thing and the ground."""
    if not colours:
        return sketch

    def ink(old: Ink | None) -> Ink | None:
        return palette.ink(colours[old.name]) if old and old.name in colours else old

    def text(old: str) -> str:
        new = _WORD.sub(lambda found: colours.get(found[0], found[0]), old)
        return _ARTICLE.sub(lambda found: a(found[1]), new)

    paints = [
        replace(mark.paint, fill=ink(mark.paint.fill), stroke=ink(mark.paint.stroke)) for mark in sketch.marks
    ]
    return replace(
        sketch,
        marks=[replace(mark, paint=paint) for mark, paint in zip(sketch.marks, paints, strict=True)],
        objects=tuple(replace(item, colour=colours.get(item.colour, item.colour)) for item in sketch.objects),
        descriptions=[text(old) for old in sketch.descriptions],
        alts=[text(old) for old in sketch.alts],
    )


def _references(sketch: Sketch, style: Style, rng: random.Random) -> tuple[str, ...]:
    if style == "alt":
        return tuple(dict.fromkeys(sketch.alts))
    if style == "literal":
        return (sentence(literal(sketch.objects, sketch.background, sketch.width / 100)),)
    plain, *others = dict.fromkeys(sentence(text) for text in sketch.descriptions)
    return (plain, *rng.sample(others, min(len(others), rng.randint(1, 4))))


def is_held_out(truth: SceneTruth) -> bool:
    """Whether the scene shows a combination of shape and colour that is kept for the test split."""
    return any(_is_reserved(item.shape, item.colour) for item in truth.objects)


def _is_reserved(shape: str, colour: str) -> bool:
    if colour in SPARE:
        return False
    digest = hashlib.sha256(f"{shape}|{colour}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % _HELD_OUT_SHARE == 0
