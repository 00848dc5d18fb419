"""The colours of an icon, in words; and one-coloured icons painted in another colour."""

from __future__ import annotations

import colorsys
import random
import re
from collections import Counter
from functools import cache

from rendering import load
from rendering.backends import Draw, open_backend
from training.corpora.palette import BRIGHT, Palette, Rgb

_SIZE_PX = 48
_OPAQUE = 200  # of 255: what is fainter is an edge or a shadow
_SHARE = 0.1  # of the painted pixels that a colour needs to be named
_MOST = 3

# The upper end in degrees of each hue's name.
_HUES = ((14, "red"), (43, "orange"), (68, "yellow"), (163, "green"), (195, "teal"), (252, "blue"))
_LATE_HUES = ((305, "purple"), (345, "pink"), (361, "red"))

_PAINTS = (*BRIGHT, "brown", "gray")


@cache  # a family is read more than once
def colours_of(svg: str) -> tuple[str, ...]:
    """The colours that cover a tenth or more of what is painted, at most three, the largest first."""
    drawing = load(svg.encode())
    longest = max(drawing.width, drawing.height)
    width, height = (max(1, round(side / longest * _SIZE_PX)) for side in (drawing.width, drawing.height))
    data = _draw()(drawing.svg, width, height).tobytes()
    pixels = zip(data[::4], data[1::4], data[2::4], data[3::4], strict=True)
    names = Counter(colour_name((red, green, blue)) for red, green, blue, alpha in pixels if alpha >= _OPAQUE)
    least = _SHARE * names.total()
    return tuple(name for name, count in names.most_common(_MOST) if count >= least)


@cache
def _draw() -> Draw:
    return open_backend("cairosvg").draw


@cache
def colour_name(rgb: Rgb) -> str:
    """The everyday name of a colour: one of the palette's, or beige."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*(channel / 255 for channel in rgb))
    degrees, chroma = hue * 360, max(rgb) - min(rgb)
    if chroma < 26 or saturation < 0.1:
        return "white" if lightness > 0.9 else "black" if lightness < 0.2 else "gray"
    if lightness < 0.09:
        return "black"
    if 14 <= degrees < 48 and lightness > 0.66 and not (saturation > 0.9 and lightness < 0.72):
        return "beige"
    if degrees < 44 and (lightness < 0.36 or (lightness < 0.52 and saturation < 0.5)) and degrees >= 8:
        return "brown"
    name = next(name for end, name in (*_HUES, *_LATE_HUES) if degrees < end)
    return "pink" if name == "red" and lightness > 0.7 else name


def painted(svg: str, rng: random.Random) -> tuple[str, str]:
    """A one-coloured icon in another colour, and that colour's name."""
    name = rng.choice(_PAINTS)
    value = "#{:02x}{:02x}{:02x}".format(*Palette(rng).ink(name).rgb)
    if "currentColor" in svg:
        return svg.replace("currentColor", value), name
    return re.sub(r"<svg\b", f'<svg fill="{value}"', svg, count=1), name
