"""Captions of generated scenes with one attribute made false."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from training.corpora.palette import COLOURS
from training.corpora.scenes import Scene

SHAPES = (
    *("circle", "square", "triangle", "rectangle", "oval", "star", "heart", "diamond", "pentagon", "hexagon"),
    *("cross", "crescent", "semicircle", "ring"),
)
_LIKE = {"circle": ("ring",), "ring": ("circle",)}  # a thin ring is a circle
NUMBERS = "two three four five six seven eight nine".split()
_TURNED = {
    "to the left of": "to the right of",
    "to the right of": "to the left of",
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
    "inside": "around",
    "around": "inside",
    "from left to right": "from right to left",
    "from top to bottom": "from bottom to top",
}


def falsified(scene: Scene, caption: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    """(attribute, caption in which it alone is false), for each attribute that the caption tells."""
    colours = re.findall(rf"\b({'|'.join(COLOURS)})\b", caption)
    strange = [
        one for one in COLOURS if not any(one in text for text in (*scene.references, str(scene.truth)))
    ]
    if colours:
        yield "colour", _replaced(caption, rng.choice(colours), rng.choice(strange))
    if len(set(colours)) == 2 == len(colours) and _can_swap(scene, caption):
        one, other = colours
        yield (
            "colours swapped",
            re.sub(rf"\b({one}|{other})\b", lambda m: other if m[0] == one else one, caption),
        )
    shown = {item.shape for item in scene.truth.objects}
    shapes = [shape for shape in SHAPES if shape in shown and re.search(rf"\b{shape}(e?s)?\b", caption)]
    if shapes:
        yield (
            "shape",
            _with_shape(
                caption,
                rng.choice(shapes),
                rng.choice([one for one in SHAPES if not {one, *_LIKE.get(one, ())} & shown]),
            ),
        )
    counts = re.findall(rf"\b({'|'.join(NUMBERS)})\b", caption, re.IGNORECASE)
    if counts:
        other = rng.choice([one for one in NUMBERS if one != counts[0].lower()])
        yield "count", _replaced(caption, counts[0], other.capitalize() if counts[0][0].isupper() else other)
    if scene.truth.kind in ("pair", "two groups", "several", "two things"):
        turned = next((way for way in _TURNED if re.search(rf"\b{way}\b", caption, re.IGNORECASE)), None)
        if turned:
            way = re.search(turned, caption, re.IGNORECASE)
            assert way
            yield "relation", caption.replace(way[0], _cased(_TURNED[turned], way[0]))
    if scene.truth.kind == "text" and scene.truth.detail in caption:
        yield (
            "text",
            caption.replace(
                scene.truth.detail,
                "Quartz" if len(scene.truth.detail) > 1 else "Q" if scene.truth.detail != "Q" else "J",
            ),
        )


def _can_swap(scene: Scene, caption: str) -> bool:
    """Whether exchanged colours make the caption false: not of two of a kind that stand side by side."""
    shapes = {item.shape for item in scene.truth.objects}
    is_symmetric = "next to" in caption or "overlapping" in caption
    return scene.truth.kind in ("pair", "two groups", "two things") and not (
        is_symmetric and len(shapes) == 1
    )


def _replaced(caption: str, word: str, other: str) -> str:
    return re.sub(rf"\b{word}\b", other, caption, count=1)


def _with_shape(caption: str, shape: str, other: str) -> str:
    plural = f"{other}es" if other == "cross" else f"{other}s"
    return re.sub(rf"\b{shape}(e?s)?\b", lambda match: plural if match[1] else other, caption, count=1)


def _cased(text: str, like: str) -> str:
    return text[0].upper() + text[1:] if like[0].isupper() else text
