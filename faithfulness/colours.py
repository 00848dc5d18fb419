"""Which of twelve names a colour bears: surely, or at a stretch.

Names overlap: what one person calls teal is blue to the next. A colour surely bears a name in the middle of
the name's range of hue and lightness, and at a stretch around it.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from functools import lru_cache

Rgb = tuple[int, int, int]

_HUE_STRETCH = 14.0  # degrees
_LIGHTNESS_STRETCH = 0.1
_GRAY_CHROMA, _GRAYISH_CHROMA = 0.10, 0.22  # largest less smallest channel, 0 to 1


@dataclass(frozen=True)
class Names:
    sure: frozenset[str]
    possible: frozenset[str]  # the sure ones included


_RANGES: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {  # hue in degrees, lightness 0 to 1
    "red": ((-14, 13), (0.25, 0.62)),
    "orange": ((17, 43), (0.42, 0.68)),
    "brown": ((8, 45), (0.12, 0.38)),
    "yellow": ((45, 66), (0.40, 0.85)),
    "green": ((75, 160), (0.12, 0.80)),
    "teal": ((165, 192), (0.15, 0.62)),
    "blue": ((200, 256), (0.18, 0.82)),
    "purple": ((262, 304), (0.18, 0.82)),
    "pink": ((306, 372), (0.66, 0.94)),
}


@lru_cache(maxsize=10_000)
def names_of(rgb: Rgb) -> Names:
    """The names of a colour with channels from 0 to 255."""
    hue, lightness, _ = colorsys.rgb_to_hls(*(channel / 255 for channel in rgb))
    chroma = (max(rgb) - min(rgb)) / 255
    grays, near_grays = _grays(lightness, 0.0), _grays(lightness, _LIGHTNESS_STRETCH)
    if chroma < _GRAY_CHROMA:
        return Names(grays, near_grays)
    inside, around = (
        _hues(hue * 360, lightness, 0, 0),
        _hues(hue * 360, lightness, _HUE_STRETCH, _LIGHTNESS_STRETCH),
    )
    if lightness < 0.1:
        return Names(frozenset(["black"]), around | {"black"})
    if chroma < _GRAYISH_CHROMA:
        return Names(frozenset(), around | near_grays)
    return Names(inside, around)


def _grays(lightness: float, stretch: float) -> frozenset[str]:
    spans = {"black": (0.0, 0.18), "gray": (0.25, 0.88), "white": (0.94, 1.0)}
    return frozenset(
        name for name, (low, high) in spans.items() if low - stretch <= lightness <= high + stretch
    )


def _hues(hue: float, lightness: float, hue_stretch: float, lightness_stretch: float) -> frozenset[str]:
    return frozenset(
        name
        for name, ((first, last), (dark, light)) in _RANGES.items()
        if dark - lightness_stretch <= lightness <= light + lightness_stretch
        and any(first - hue_stretch <= turned <= last + hue_stretch for turned in (hue - 360, hue, hue + 360))
    )
