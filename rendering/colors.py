"""CSS colours to one short form: the name or the hexadecimal number, whichever is shorter."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import tinycss2.color3
import tinycss2.color4

# CSS names that are shorter than, or as short as, their hexadecimal form (CSS Color 3, section 4.3).
_SHORT_NAMES = frozenset(
    (
        "aqua azure beige bisque black blue brown coral cyan gold gray green grey indigo ivory khaki lime "
        "linen maroon navy olive orange orchid peru pink plum purple red salmon sienna silver snow tan teal "
        "tomato violet wheat white yellow"
    ).split()
)


def _rgb(name: str) -> tuple[int, int, int]:
    colour = tinycss2.color3.parse_color(name)
    return (round(colour.red * 255), round(colour.green * 255), round(colour.blue * 255))


def plain_color(text: str) -> str:
    """A colour function as all renderers read it: `#rrggbb`, or `rgba()` with commas; other text as it is.

    What sRGB does not have (of Lab, OKLab, Display P3 and the like) is clipped to it, as browsers do.
    """
    if "(" not in text:
        return text
    colour = _parse(text)
    if colour is None:
        return text
    channels, alpha = colour
    if alpha < 1:
        return f"rgba({','.join(map(str, channels))},{alpha:.4g})"
    return "#" + "".join(f"{value:02x}" for value in channels)


def short_color(text: str) -> tuple[str, float]:
    """The short form of a colour and its opacity (0 to 1); text that is no colour comes back as it is."""
    colour = _parse(text)
    if colour is None:
        return text, 1.0
    channels, alpha = colour
    long = "#" + "".join(f"{value:02x}" for value in channels)
    short = "#" + long[1::2] if long[1::2] == long[2::2] else long
    name = _names().get(channels)
    return (name if name and len(name) <= len(short) else short), alpha


def rgb_of(text: str) -> tuple[int, int, int] | None:
    """Red, green and blue from 0 to 255; None for text that is no colour."""
    colour = _parse(text)
    if colour is None:
        return None
    red, green, blue = colour[0]
    return red, green, blue


def _parse(text: str) -> tuple[tuple[int, ...], float] | None:
    """Red, green and blue from 0 to 255, and alpha from 0 to 1; None for what names no colour."""
    try:
        colour = tinycss2.color4.parse_color(text)
        if colour is None or isinstance(colour, str):
            return None
        channels = (round(value * 255) for value in _srgb(colour))
        return tuple(min(max(value, 0), 255) for value in channels), float(colour.alpha)
    except (ValueError, OverflowError, TypeError):  # numbers that no colour has
        return None


def _srgb(colour: tinycss2.color4.Color) -> Sequence[float]:
    """Red, green and blue, 0 to 1 where sRGB has the colour."""
    try:
        srgb: Sequence[float] = colour.to("srgb").coordinates
    except NotImplementedError:  # tinycss2 reads Lab, OKLab, Display P3 and the like, but cannot convert them
        from coloraide import Color  # slow to import, and few files need it

        coordinates = [0 if value is None else value for value in colour.coordinates]  # CSS's `none`
        srgb = Color(colour.space, coordinates).convert("srgb").coords()
    return srgb


@cache
def _names() -> dict[tuple[int, ...], str]:
    return {_rgb(name): name for name in sorted(_SHORT_NAMES, reverse=True)}
