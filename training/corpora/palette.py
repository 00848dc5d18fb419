"""Twelve colour names and the RGB values that nobody would call by another name.

A scene picks one value per name, either a CSS keyword or a jittered point of a range in hue,
saturation and lightness; the ranges keep clear of each other.
"""

from __future__ import annotations

import colorsys
import random
from collections.abc import Sequence
from dataclasses import dataclass

Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class Ink:
    """A colour as drawn: its name in captions, its value, and the CSS keyword for that value if any."""

    name: str
    rgb: Rgb
    keyword: str | None = None


@dataclass(frozen=True)
class _Range:
    hue: tuple[float, float]  # degrees
    saturation: tuple[float, float]  # 0 to 1
    lightness: tuple[float, float]  # 0 to 1
    keywords: tuple[tuple[str, Rgb], ...] = ()


_RANGES = {
    "red": _Range((-6, 6), (0.75, 1), (0.42, 0.52), (("red", (255, 0, 0)), ("crimson", (220, 20, 60)))),
    "orange": _Range(
        (26, 36), (0.9, 1), (0.48, 0.55), (("orange", (255, 165, 0)), ("darkorange", (255, 140, 0)))
    ),
    "yellow": _Range((48, 57), (0.9, 1), (0.48, 0.6), (("yellow", (255, 255, 0)), ("gold", (255, 215, 0)))),
    "green": _Range(
        (105, 142), (0.5, 0.9), (0.28, 0.45), (("green", (0, 128, 0)), ("forestgreen", (34, 139, 34)))
    ),
    "teal": _Range((174, 183), (0.7, 1), (0.26, 0.4), (("teal", (0, 128, 128)), ("darkcyan", (0, 139, 139)))),
    "blue": _Range(
        (212, 235), (0.7, 1), (0.42, 0.58), (("blue", (0, 0, 255)), ("royalblue", (65, 105, 225)))
    ),
    "purple": _Range(
        (270, 288), (0.5, 0.85), (0.35, 0.5), (("purple", (128, 0, 128)), ("darkviolet", (148, 0, 211)))
    ),
    "pink": _Range(
        (325, 345), (0.8, 1), (0.7, 0.82), (("pink", (255, 192, 203)), ("hotpink", (255, 105, 180)))
    ),
    "brown": _Range((18, 28), (0.45, 0.65), (0.24, 0.33), (("saddlebrown", (139, 69, 19)),)),
    "black": _Range((0, 359), (0, 0.1), (0, 0.07), (("black", (0, 0, 0)),)),
    "gray": _Range(
        (0, 359), (0, 0.04), (0.47, 0.66), (("gray", (128, 128, 128)), ("darkgray", (169, 169, 169)))
    ),
    "white": _Range((0, 359), (0, 0.2), (0.97, 1), (("white", (255, 255, 255)),)),
}

COLOURS: tuple[str, ...] = tuple(_RANGES)
BRIGHT: tuple[str, ...] = ("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink")


class Palette:
    """The inks of one scene: every name has one value throughout the drawing."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._inks: dict[str, Ink] = {}

    def ink(self, name: str) -> Ink:
        if name not in self._inks:
            self._inks[name] = _mix(name, self._rng)
        return self._inks[name]

    def pick(self, names: Sequence[str] = COLOURS, exclude: Sequence[str] = ()) -> str:
        """One of `names`, not in `exclude`."""
        return self._rng.choice([name for name in names if name not in exclude])

    def pick_several(
        self, count: int, names: Sequence[str] = COLOURS, exclude: Sequence[str] = ()
    ) -> list[str]:
        """`count` different names."""
        return self._rng.sample([name for name in names if name not in exclude], count)


def _mix(name: str, rng: random.Random) -> Ink:
    span = _RANGES[name]
    if rng.random() < 0.5:
        keyword, rgb = rng.choice(span.keywords)
        return Ink(name, rgb, keyword)
    hue = rng.uniform(*span.hue) % 360 / 360
    red, green, blue = colorsys.hls_to_rgb(hue, rng.uniform(*span.lightness), rng.uniform(*span.saturation))
    return Ink(name, (round(red * 255), round(green * 255), round(blue * 255)))
