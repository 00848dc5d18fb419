"""Generated scenes with known truth: `generate_scene(seed)` is one drawing, the same for ever.

The seed decides the kind of scene, its content, its colours and the SVG dialect that it is written
in; the phrasing follows the style, so that the same seed is the same drawing in either style.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from training.corpora.dialects import write_svg
from training.corpora.literal import literal
from training.corpora.object_scenes import counted_things, landscape, thing, two_things
from training.corpora.shape_scenes import arrow, counted, lines, pair, pattern, several, single, two_groups
from training.corpora.sign_scenes import chart, face, flag, text
from training.corpora.sketch import SceneTruth, Sketch, Studio
from training.corpora.wording import sentence

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


@dataclass(frozen=True)
class Scene:
    svg: str
    truth: SceneTruth
    references: tuple[str, ...]  # the first is the plainest


def generate_scene(seed: int, style: Style = "description", kind: str | None = None) -> Scene:
    """The scene of this seed, of a kind drawn by weight unless one is named."""
    rng = random.Random(f"scene {seed}")
    weights = [weight for weight, _ in _KINDS.values()]
    drawn = rng.choices(KINDS, weights)[0]
    name = kind or drawn
    sketch = _KINDS[name][1](Studio(rng))
    svg = write_svg(sketch.marks, sketch.width, rng)
    truth = SceneTruth(name, sketch.objects, sketch.background, sketch.detail)
    return Scene(svg, truth, _references(sketch, style, rng))


def _references(sketch: Sketch, style: Style, rng: random.Random) -> tuple[str, ...]:
    if style == "alt":
        return tuple(dict.fromkeys(sketch.alts))
    if style == "literal":
        listed = sketch.whole or literal(sketch.listed(), sketch.background, sketch.width / 100)
        return (sentence(listed),)
    plain, *others = dict.fromkeys(sentence(text) for text in sketch.descriptions)
    return (plain, *rng.sample(others, min(len(others), rng.randint(1, 4))))


def is_held_out(truth: SceneTruth) -> bool:
    """Whether the scene shows a combination of shape and colour that is kept for the test split."""
    return any(_is_reserved(item.shape, item.colour) for item in truth.objects)


def _is_reserved(shape: str, colour: str) -> bool:
    digest = hashlib.sha256(f"{shape}|{colour}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % _HELD_OUT_SHARE == 0
