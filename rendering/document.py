"""The border: untrusted bytes in, a safe drawing out.

This is the one way in for every file, whoever sends it: service, training, evaluation and commands.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from rendering.decode import decode
from rendering.geometry import short
from rendering.limits import Limits
from rendering.parse import SVG_NAMESPACE, parse
from rendering.sanitize import Sanitizer, viewport

_DRAWN = frozenset("path rect circle ellipse line polyline polygon text image use".split())


@dataclass(frozen=True)
class Drawing:
    """A sanitized SVG: safe to rasterize, to show and to put into a prompt."""

    svg: str  # sanitized SVG text with explicit width, height and viewBox
    width: float  # user units
    height: float  # user units
    elements: int  # elements left after sanitizing
    removed: tuple[str, ...]  # what the sanitizer dropped, e.g. "script (2)"
    warnings: tuple[str, ...]  # what may make the render or the caption poor


def load(data: bytes, limits: Limits | None = None) -> Drawing:
    """Decodes, parses and sanitizes one file.

    Raises:
        SvgRejected: the file is not an SVG, is broken, or passes a limit.
    """
    limits = limits or Limits()
    root, instructions = parse(decode(data, limits), limits)
    width, height, box = viewport(root, limits)
    sanitizer = Sanitizer(root, limits, max(box[2], box[3]))
    elements = sanitizer.run()
    sanitizer.removed["processing instruction"] += instructions
    root.attrib.update(
        width=short(width, 6), height=short(height, 6), viewBox=" ".join(short(value, 6) for value in box)
    )
    for name in ("x", "y", "id"):
        root.attrib.pop(name, None)
    root.set("xmlns", SVG_NAMESPACE)
    return Drawing(
        svg=ElementTree.tostring(root, encoding="unicode"),
        width=width,
        height=height,
        elements=elements,
        removed=tuple(f"{what} ({count})" for what, count in sorted(sanitizer.removed.items()) if count),
        warnings=tuple(_warnings(root)),
    )


def _warnings(root: Element) -> list[str]:
    tags = {element.tag for element in root.iter()}
    found = []
    if not tags & _DRAWN:
        found.append("The drawing has no visible element.")
    if "filter" in tags:
        found.append("The drawing uses filters, which CairoSVG does not draw.")
    if "image" in tags:
        found.append("The drawing embeds a picture, which the language model cannot see.")
    return found
