"""A parsed, hostile tree to a safe one: what is not known to be harmless is dropped and counted.

Afterwards the tree holds only elements and attributes of a fixed list, no CSS, no script, no
animation, no reference that leaves the file, no reference cycle, and path data that is valid.
Knows nothing of prompts; `canonical` shortens what stands here.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
import re
from collections import Counter
from collections.abc import Callable
from xml.etree.ElementTree import Element

from rendering import css
from rendering.colors import plain_color
from rendering.errors import SvgRejected
from rendering.geometry import (
    IDENTITY,
    join,
    length,
    numbers,
    parse_transform,
    short,
    transform_origin,
)
from rendering.limits import Limits
from rendering.paths import Segment, parse_path

_SHAPES = frozenset("path rect circle ellipse line polyline polygon".split())
_CONTAINERS = frozenset(
    "svg g defs symbol switch clipPath mask pattern marker linearGradient radialGradient filter".split()
)
_FILTERS = frozenset(
    (
        "feBlend feColorMatrix feComponentTransfer feComposite feConvolveMatrix feDiffuseLighting "
        "feDisplacementMap feDistantLight feDropShadow feFlood feFuncA feFuncB feFuncG feFuncR "
        "feGaussianBlur feMerge feMergeNode feMorphology feOffset fePointLight feSpecularLighting "
        "feSpotLight feTile feTurbulence"
    ).split()
)
_TEXT = frozenset(["text", "tspan", "textPath"])
_ELEMENTS = _SHAPES | _CONTAINERS | _FILTERS | _TEXT | {"use", "image", "stop", "title", "desc"}
_SILENT = frozenset(["metadata", "style", "view", "cursor"])  # nothing that anybody would miss in a picture

_NUMERIC = frozenset(["stroke-miterlimit", "stroke-width"])
_LENGTHS = frozenset(
    (
        "x y x1 y1 x2 y2 cx cy r rx ry fx fy fr width height refX refY markerWidth markerHeight offset "
        "textLength startOffset dx dy rotate"
    ).split()
)
_MAYBE_RELATIVE = (
    _LENGTHS | _NUMERIC | {"stroke-dasharray", "stroke-dashoffset", "letter-spacing", "word-spacing"}
)
_FONT_UNIT = re.compile(r"(rem|em|ex)$", re.IGNORECASE)
_FONT_SIZE = 16.0  # where a drawing says nothing
_FONT_SIZES = {"xx-small": 9.6, "x-small": 12.0, "small": 14.4, "medium": 16.0, "large": 19.2}
_FONT_SIZES |= {"x-large": 24.0, "xx-large": 32.0}
_PLAIN = frozenset(
    (
        "id viewBox preserveAspectRatio gradientUnits spreadMethod clipPathUnits maskUnits maskContentUnits "
        "patternUnits patternContentUnits markerUnits orient filterUnits primitiveUnits lengthAdjust method "
        "spacing in in2 result mode type values operator k1 k2 k3 k4 stdDeviation order kernelMatrix "
        "divisor bias edgeMode preserveAlpha surfaceScale diffuseConstant specularConstant specularExponent "
        "scale xChannelSelector yChannelSelector azimuth elevation z pointsAtX pointsAtY pointsAtZ "
        "limitingConeAngle radius baseFrequency numOctaves seed stitchTiles tableValues slope intercept "
        "amplitude exponent mask-type pathLength"
    ).split()
)
_TRANSFORMS = frozenset(("transform", "gradientTransform", "patternTransform"))
_COLOURS = frozenset("fill stroke color stop-color flood-color lighting-color".split())
_REFERENCES = frozenset("fill stroke clip-path mask filter marker-start marker-mid marker-end".split())
_LOCAL_URL = re.compile(r"url\(\s*['\"]?#([^'\"()\s]{1,200})['\"]?\s*\)(.{0,100})", re.DOTALL)
_DATA_URI = re.compile(r"data:image/(png|jpe?g|gif|webp);base64,", re.IGNORECASE)
_UNSAFE_VALUE = re.compile(
    r"(?:url|image|image-set|src|expression)\s*\(|javascript:|@import|\\", re.IGNORECASE
)
_MAX_VALUE_CHARS = 4_096
_MAX_DASHES = 64
_LANGUAGE = "en"  # of the person for whom a file with several languages is drawn
_MAX_REFERENCE_DEPTH = 400
_MIN_DASH_RATIO = 1e-4  # of the drawing's longer side: finer dashes than that are a bomb or invisible


class Sanitizer:
    """Cleans one tree in place; `removed` counts what was dropped, by kind."""

    def __init__(self, root: Element, limits: Limits, box: tuple[float, float, float, float]) -> None:
        self.root = root
        self.limits = limits
        self.box = box
        self.removed: Counter[str] = Counter()
        self._font_size = self._root_font_size = _FONT_SIZE  # of the element that is cleaned
        self._segments = 0
        self._text_chars = 0
        self._images = 0

    def run(self) -> int:
        """Cleans the tree.

        Returns:
            The number of elements that are left.

        Raises:
            SvgRejected: a limit on path segments, text, images or expansion is passed.
        """
        self.removed.update(css.resolve(self.root, self.limits))
        self._element(self.root)
        self._check_expansion()
        return sum(1 for _ in self.root.iter())

    def _element(self, element: Element) -> None:
        outer_font_size = self._font_size
        self._resolve_font_size(element)
        if element is self.root:
            self._root_font_size = self._font_size
        self._attributes(element)
        if element.tag in _TEXT:
            self._count_text(element)
        elif element.tag not in ("title", "desc"):
            element.text = None
        if element.tag == "switch":
            _choose(element)
        for child in list(element):
            if self._keeps(child):
                self._element(child)
                if element.tag not in _TEXT:
                    child.tail = None
            else:
                _remove(element, child)
        self._font_size = outer_font_size

    def _resolve_font_size(self, element: Element) -> None:
        """Writes a relative one in user units: those of its children are relative to it."""
        text = element.get("font-size", "").strip().lower()
        size = _FONT_SIZES.get(text) or length(self._absolute(text), percent_of=self._font_size)
        if size is None or size < 0:
            return
        self._font_size = size
        if text.endswith(("em", "ex", "%")):
            element.set("font-size", short(size, 6))

    def _absolute(self, value: str) -> str:
        """Lengths relative to the font's size in user units; all others as they are."""
        if "e" not in value.lower() or len(value) > _MAX_VALUE_CHARS:
            return value
        units = {"em": self._font_size, "ex": self._font_size / 2, "rem": self._root_font_size}
        parts = value.replace(",", " ").split()
        for i, part in enumerate(parts):
            unit = _FONT_UNIT.search(part)
            number = length(part[: unit.start()]) if unit else None
            if unit and number is not None:
                parts[i] = short(number * units[unit[1].lower()], 6)
        return " ".join(parts)

    def _keeps(self, element: Element) -> bool:
        if element.tag == "a":
            element.tag = "tspan" if element.text and element.text.strip() else "g"
            element.attrib.pop("href", None)
        if element.tag in _ELEMENTS:
            return _applies(element)
        if element.tag.startswith("{"):
            if not element.tag.startswith("{http://www.inkscape.org") and "sodipodi" not in element.tag:
                self.removed["foreign element"] += 1
        elif element.tag not in _SILENT:
            self.removed[element.tag[:40]] += 1
        return False

    def _resolve_origin(self, element: Element) -> None:
        """Writes `transform-origin` into the transforms around it."""
        origin = element.attrib.pop("transform-origin", None)
        point = None if origin is None else transform_origin(origin, self.box)
        if point is None or point == (0, 0):
            return
        name = next((name for name in _TRANSFORMS if name in element.attrib), None)
        if name is not None:
            x, y = (short(value, 6) for value in point)
            back = " ".join(short(-value, 6) for value in point)
            element.set(name, f"translate({x} {y}) {element.attrib[name]} translate({back})")

    def _count_text(self, element: Element) -> None:
        chars = len(element.text or "") + sum(len(child.tail or "") for child in element)
        self._text_chars += chars
        if self._text_chars > self.limits.max_text_chars:
            raise self._over(
                "characters of drawn text", self._text_chars, self.limits.max_text_chars, "too_much_text"
            )

    def _attributes(self, element: Element) -> None:
        self._resolve_origin(element)
        for name, value in list(element.attrib.items()):
            kept = self._attribute(element, name, value)
            if kept is None:
                del element.attrib[name]
            else:
                element.set(name, kept)

    def _attribute(self, element: Element, name: str, value: str) -> str | None:
        """The safe form of one attribute's value, or None to drop it."""
        value = plain_color(value) if name in _COLOURS else value
        value = self._absolute(value) if name in _MAYBE_RELATIVE else value
        match name:
            case "d":
                return self._path(value) if element.tag == "path" else None
            case "points":
                return self._points(value)
            case "href":
                return self._href(element, value)
            case "stroke-dasharray":
                return self._dashes(value)
        if name.lower().startswith("on"):
            self.removed["event handler"] += 1
            return None
        if name in _TRANSFORMS:
            return _transform(value)
        if len(value) > _MAX_VALUE_CHARS:
            if name in _LENGTHS | _PLAIN | css.PROPERTIES:
                self.removed[f"overlong attribute {name}"] += 1
            return None
        if name in _REFERENCES:
            return self._paint(value)
        if name.endswith("opacity"):
            share = length(value, percent_of=1.0)
            return None if share is None else short(min(max(share, 0.0), 1.0), 6)
        if name in _LENGTHS or name in _NUMERIC:
            return value.strip() if numbers(value) else None
        if name in css.PROPERTIES | _PLAIN:
            return self._plain(value)
        return None

    def _plain(self, value: str) -> str | None:
        if _UNSAFE_VALUE.search(value):
            self.removed["external reference"] += 1
            return None
        return " ".join(value.split())

    def _paint(self, value: str) -> str | None:
        local = _LOCAL_URL.match(value.strip())
        if local is None:
            return self._plain(value)
        fallback = self._plain(local[2])
        return f"url(#{local[1]}) {fallback}".strip() if fallback is not None else f"url(#{local[1]})"

    def _href(self, element: Element, value: str) -> str | None:
        value = value.strip()
        if value.startswith("#"):
            return value[:_MAX_VALUE_CHARS]
        if element.tag == "image" and _DATA_URI.match(value):
            return self._embedded_image(value)
        self.removed["external reference"] += 1
        return None

    def _embedded_image(self, value: str) -> str | None:
        from PIL import Image

        self._images += 1
        if self._images > self.limits.max_images:
            raise self._over("embedded images", self._images, self.limits.max_images, "too_many_images")
        try:
            data = base64.b64decode(re.sub(r"\s+", "", value.partition(",")[2]), validate=True)
            with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "GIF", "WEBP")) as image:
                pixels = image.width * image.height
        except (
            binascii.Error,
            OSError,
            ValueError,
            Image.DecompressionBombError,
            Image.DecompressionBombWarning,
        ):
            self.removed["unreadable embedded image"] += 1
            return None
        if pixels > self.limits.max_image_pixels:
            raise self._over(
                "pixels in an embedded image", pixels, self.limits.max_image_pixels, "image_too_large"
            )
        return value

    def _path(self, value: str) -> str:
        segments = parse_path(value, self.limits.max_path_segments)
        self._count_segments(len(segments))
        return _format_segments(segments)

    def _points(self, value: str) -> str:
        found = numbers(value, 2 * self.limits.max_path_segments + 2)
        self._count_segments(len(found) // 2)
        return join([short(number, 6) for number in found[: len(found) // 2 * 2]])

    def _count_segments(self, count: int) -> None:
        self._segments += count
        limit = self.limits.max_path_segments
        if self._segments > limit:
            raise self._over("path segments", self._segments, limit, "too_many_path_segments", at_least=True)

    def _dashes(self, value: str) -> str | None:
        if value.strip() == "none" or len(value) > _MAX_VALUE_CHARS:
            return None
        diagonal = math.hypot(self.box[2], self.box[3]) / math.sqrt(2)
        lengths = [length(part, diagonal) for part in value.replace(",", " ").split()][:_MAX_DASHES]
        dashes = [dash for dash in lengths if dash is not None and dash >= 0]
        finest = max(self.box[2:]) * _MIN_DASH_RATIO * len(dashes)
        if len(dashes) < len(lengths) or sum(dashes) <= finest:
            return None
        return join([short(dash, 6) for dash in dashes])

    def _check_expansion(self) -> None:
        """Counts what a renderer would visit with every reference followed; cuts cycles on the way."""
        targets: dict[str, Element] = {}
        for element in self.root.iter():
            if "id" in element.attrib and targets.setdefault(element.attrib["id"], element) is not element:
                del element.attrib["id"]  # of several, the first is meant
        expansion = _Expansion(targets, self.limits.max_expanded_elements, self.removed)
        for element in self.root.iter():
            if element.tag in _SHAPES:
                expansion.cost(
                    element, 0
                )  # first: a cycle of gradients is cut where a shape comes to its end
        cost = expansion.cost(self.root, 0)
        self._drop_idle_uses()
        if cost > self.limits.max_expanded_elements:
            raise self._over(
                "elements once references are followed", cost, self.limits.max_expanded_elements, "expansion"
            )

    def _drop_idle_uses(self) -> None:
        """A use without a target draws nothing, but CairoSVG takes it for the whole drawing."""
        while idle := [
            (parent, child) for parent in self.root.iter() for child in parent if _is_idle_use(child)
        ]:
            for parent, child in idle:
                _remove(parent, child)
            ids = {element.get("id") for element in self.root.iter()}
            for element in self.root.iter():
                for name, target_id in _references(element):
                    if target_id not in ids:
                        _forget(element, name)

    @staticmethod
    def _over(what: str, value: int, limit: int, code: str, at_least: bool = False) -> SvgRejected:
        amount = f"{'at least ' if at_least else ''}{value:,}" if value < 10**12 else "more than 10^12"
        return SvgRejected(
            f"The SVG has {amount} {what}, the limit is {limit:,}. Simplify the drawing.", code
        )


class _Expansion:
    """Memoized size of each element's rendering tree; a reference back to an ancestor is removed."""

    def __init__(self, targets: dict[str, Element], limit: int, removed: Counter[str]) -> None:
        self.targets = targets
        self.limit = limit
        self.removed = removed
        self._known: dict[Element, int] = {}
        self._open: set[Element] = set()

    def cost(self, element: Element, depth: int) -> int:
        if element in self._known:
            return self._known[element]
        if depth > _MAX_REFERENCE_DEPTH:
            raise SvgRejected(
                f"References in the SVG are nested more than {_MAX_REFERENCE_DEPTH} levels deep.", "expansion"
            )
        self._open.add(element)
        total = 1 + sum(self.cost(child, depth + 1) for child in element)
        for name, target_id in _references(element):
            if name in element.attrib:  # a cycle through an ancestor comes by here and may have cut it
                total += self._reference(element, name, target_id, depth)
        self._open.discard(element)
        self._known[element] = total
        return total

    def _reference(self, element: Element, name: str, target_id: str, depth: int) -> int:
        target = self.targets.get(target_id)
        if target is not None and target not in self._open:
            repeats = _marker_places(element) if name.startswith("marker") else 1
            return repeats * self.cost(target, depth + 1)
        if target is not None:
            self.removed["reference cycle"] += 1
            del element.attrib[name]
        else:
            _forget(element, name)
        return 0


def _is_idle_use(element: Element) -> bool:
    return element.tag == "use" and "href" not in element.attrib


def _forget(element: Element, name: str) -> None:
    """Takes away a reference whose target is missing; a paint leaves its fallback."""
    if name in ("fill", "stroke"):
        element.set(name, _LOCAL_URL.sub(r"\2", element.attrib[name]).strip() or "none")
    else:
        del element.attrib[name]


def _references(element: Element) -> list[tuple[str, str]]:
    found = []
    for name, value in element.attrib.items():
        if name == "href" and value.startswith("#"):
            found.append((name, value[1:]))
        elif name in _REFERENCES and (local := _LOCAL_URL.match(value)):
            found.append((name, local[1]))
    return found


def _choose(switch: Element) -> None:
    """Leaves of a switch's children the first whose conditions hold, as the standard has it."""
    chosen = next((child for child in switch if "{" not in child.tag and _applies(child)), None)
    switch.tag = "g"
    for child in list(switch):
        if child is not chosen:
            switch.remove(child)


def _applies(element: Element) -> bool:
    """Whether the conditions hold (SVG 1.1, section 5.8): features always do, extensions never."""
    languages = element.get("systemLanguage")
    if languages is not None and not any(
        language.strip().lower().partition("-")[0] == _LANGUAGE for language in languages.split(",")
    ):
        return False
    return "requiredExtensions" not in element.attrib


def _marker_places(element: Element) -> int:
    return sum(not c.isdigit() for c in element.get("d", element.get("points", ""))) + 1


def _remove(parent: Element, child: Element) -> None:
    """Removes a child but keeps the text that follows it (it belongs to the parent)."""
    if child.tail and parent.tag in _TEXT:
        position = list(parent).index(child)
        if position:
            before = parent[position - 1]
            before.tail = (before.tail or "") + child.tail
        else:
            parent.text = (parent.text or "") + child.tail
    parent.remove(child)


def _transform(value: str) -> str | None:
    matrix = parse_transform(value)
    if matrix is None or matrix == IDENTITY:
        return None
    return f"matrix({join([short(number, 9) for number in matrix])})"


def _format_segments(segments: list[Segment]) -> str:
    number: Callable[[float], str] = lambda value: short(value, 6)  # noqa: E731
    return "".join(command + join([number(value) for value in values]) for command, values in segments)


def viewport(root: Element, limits: Limits) -> tuple[float, float, tuple[float, float, float, float]]:
    """Width and height of the drawing in user units, and its viewBox (x, y, width, height).

    A missing size is the viewBox's, a missing viewBox is the size; without either, it is the 300 x 150
    that browsers give to a picture of unknown size (CSS 2.1, section 10.3.2).

    Raises:
        SvgRejected: no area, or a side outside `limits`.
    """
    box = numbers(root.get("viewBox", ""), 5)
    width, height = length(root.get("width")), length(root.get("height"))
    if len(box) != 4:
        box = [0.0, 0.0, 300.0 if width is None else width, 150.0 if height is None else height]
    if width is None:
        width = box[2] if height is None or not box[3] else height * box[2] / box[3]
    if height is None:
        height = box[3] if not box[2] else width * box[3] / box[2]
    sides = {"width": width, "height": height, "viewBox width": box[2], "viewBox height": box[3]}
    for name, value in sides.items():
        if not limits.min_side <= value <= limits.max_side:
            raise SvgRejected(
                f"The SVG's {name} is {value:g} user units; "
                f"allowed are {limits.min_side:g} to {limits.max_side:g}.",
                "size",
            )
    return width, height, (box[0], box[1], box[2], box[3])
