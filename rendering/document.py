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
    beyond_cairosvg: tuple[str, ...] = ()  # features that CairoSVG draws wrongly or not at all


def load(data: bytes, limits: Limits | None = None) -> Drawing:
    """Decodes, parses and sanitizes one file.

    Raises:
        SvgRejected: the file is not an SVG, is broken, or passes a limit.
    """
    limits = limits or Limits()
    root, instructions = parse(decode(data, limits), limits)
    width, height, box = viewport(root, limits)
    _title_from_label(root)
    sanitizer = Sanitizer(root, limits, box)
    elements = sanitizer.run()
    sanitizer.removed["processing instruction"] += instructions
    root.attrib.update(
        width=short(width, 6), height=short(height, 6), viewBox=" ".join(short(value, 6) for value in box)
    )
    for name in ("x", "y", "id"):
        root.attrib.pop(name, None)
    root.set("xmlns", SVG_NAMESPACE)
    beyond = tuple(_beyond_cairosvg(root))
    return Drawing(
        svg=ElementTree.tostring(root, encoding="unicode"),
        width=width,
        height=height,
        elements=elements,
        removed=tuple(f"{what} ({count})" for what, count in sorted(sanitizer.removed.items()) if count),
        warnings=tuple(_warnings(root, beyond)),
        beyond_cairosvg=beyond,
    )


def _title_from_label(root: Element) -> None:
    """Keeps an `aria-label` as the title of a drawing that has none."""
    label = root.get("aria-label", "").strip()
    if label and root.find("title") is None:
        title = Element("title")
        title.text = label
        root.insert(0, title)


def _warnings(root: Element, beyond: tuple[str, ...]) -> list[str]:
    tags = {element.tag for element in root.iter()}
    found = []
    if not tags & _DRAWN:
        found.append("The drawing has no visible element.")
    if beyond:
        found.append(f"The drawing uses {', '.join(beyond)}, which CairoSVG draws wrongly or not at all.")
    if "image" in tags:
        found.append("The drawing embeds a picture, which the language model cannot see.")
    return found


# What CairoSVG 2.9 draws as the resvg test suite has it in less than half of the suite's files.
_BEYOND_ELEMENTS = {
    "filter": "filters",
    "mask": "masks",
    "pattern": "patterns",
    "textPath": "text on a path",
}
_BEYOND_PROPERTIES = {
    "mix-blend-mode": "blend modes",
    "paint-order": "paint order",
    "writing-mode": "writing modes",
    "text-decoration": "text decoration",
    "dominant-baseline": "text baselines",
    "alignment-baseline": "text baselines",
    "baseline-shift": "text baselines",
    "textLength": "stretched text",
}
_NEUTRAL = frozenset(["normal", "none", "auto", "baseline", "alphabetic", "0", "lr-tb", "horizontal-tb"])


def _beyond_cairosvg(root: Element) -> list[str]:
    found = set()
    for element in root.iter():
        if element.tag in _BEYOND_ELEMENTS:
            found.add(_BEYOND_ELEMENTS[element.tag])
        for name in _BEYOND_PROPERTIES.keys() & element.attrib.keys():
            if element.attrib[name] not in _NEUTRAL:
                found.add(_BEYOND_PROPERTIES[name])
    return sorted(found)
