"""What a drawing shows, read from its canonical text: visible shapes with colours and places, and its words.

Shapes are painted in order on a small grid, so that what others hide does not count. Not read: pictures,
patterns, filters, markers, clips, masks, text placed in vw or vh; a drawing with one is not legible, and
nothing is false of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from faithfulness.colours import Rgb, names_of
from faithfulness.contours import Contour, contours_of
from faithfulness.shapes import NONE, Kinds, kinds_of
from rendering import Drawing, canonicalize
from rendering.colors import rgb_of
from rendering.geometry import length, numbers

Mask = npt.NDArray[np.bool_]

_GRID = 200  # cells along the longer side
_MOST_MARKS = 400
_LEAST_CELLS = 6  # that a mark must show, and
_LEAST_SHARE = 0.25  # how much of itself
_THICK = 0.25  # of the radius
_GROUND_SHARE = 0.97  # of the canvas: what covers so much from the beginning is the ground
_ILLEGIBLE = frozenset("image pattern filter marker symbol switch use textPath clipPath mask".split())
_INHERITED = (
    *("fill", "stroke", "stroke-width", "fill-opacity", "stroke-opacity", "fill-rule"),
    *("font-size", "text-anchor"),
)


@dataclass(frozen=True)
class Mark:
    """One visible shape."""

    kinds: Kinds | None  # the names that its shape bears; none for a line or text; None: not recognized
    colours: tuple[Rgb, ...]  # of fill and stroke, where they are seen
    cells: Mask  # where it is seen, (rows, columns) of the grid
    box: tuple[float, float, float, float]  # left, top, right, bottom as shares of the longer side
    is_open: bool = False  # an open line
    is_text: bool = False

    def bears(self, colour: str) -> bool | None:
        """Whether one of its colours surely has that name; None: at a stretch."""
        names = [names_of(rgb) for rgb in self.colours]
        if any(colour in one.sure for one in names):
            return True
        return None if any(colour in one.possible for one in names) else False


@dataclass(frozen=True)
class Facts:
    marks: tuple[Mark, ...]  # in painting order, without the ground
    ground: Rgb | None  # what the canvas is painted with, if it is
    texts: tuple[str, ...]
    shape: tuple[int, int]  # rows and columns of the grid
    is_legible: bool  # whether all was read: False where nothing can be called false

    @cached_property
    def colours(self) -> dict[Rgb, int]:
        """Visible colours of marks by area in cells, the largest first."""
        areas: dict[Rgb, int] = {}
        for mark in self.marks:
            for rgb in mark.colours:
                areas[rgb] = areas.get(rgb, 0) + int(mark.cells.sum())
        return dict(sorted(areas.items(), key=lambda pair: -pair[1]))

    @property
    def has_strangers(self) -> bool:
        """Whether a shape was not recognized, which may be what a caption names."""
        return any(mark.kinds is None for mark in self.marks)


def read_facts(drawing: Drawing) -> Facts:
    root = ElementTree.fromstring(canonicalize(drawing))  # noqa: S314  # sanitized
    *_, width, height = numbers(root.attrib["viewBox"])
    side = max(width, height)
    rows, columns = (max(1, round(_GRID * extent / side)) for extent in (height, width))
    canvas = _Canvas(rows, columns, _GRID / side, _gradients(root))
    canvas.is_legible = not any(element.tag in _ILLEGIBLE for element in root.iter())
    for count, element in enumerate(_leaves(root, {})):
        if count >= _MOST_MARKS:
            canvas.is_legible = False
            break
        canvas.draw(element)
    texts = tuple(" ".join("".join(one.itertext()).split()) for one in root.iter("text"))
    return Facts(tuple(canvas.marks()), canvas.ground, texts, (rows, columns), canvas.is_legible)


def _leaves(element: Element, above: Mapping[str, str]) -> Iterator[Element]:
    """Drawn elements with all that they inherit; opacities are multiplied."""
    here = {name: element.attrib[name] for name in _INHERITED if name in element.attrib}
    look = {**above, **here}
    opacity = float(above.get("opacity", 1)) * _value(element, "opacity", 1)
    look["opacity"] = str(opacity)
    for child in element:
        if child.tag in ("g", "svg"):
            yield from _leaves(child, look)
        elif child.tag not in ("defs", "title", "desc", "linearGradient", "radialGradient", *_ILLEGIBLE):
            leaf = Element(child.tag, {**look, **child.attrib})
            leaf.set("opacity", str(opacity * _value(child, "opacity", 1)))
            leaf.text = "".join(child.itertext())
            yield leaf


def _gradients(root: Element) -> dict[str, tuple[Rgb, ...]]:
    """The colours of each gradient's stops."""
    return {
        gradient.get("id", ""): tuple(
            rgb for stop in gradient.iter("stop") if (rgb := rgb_of(stop.get("stop-color", "#000")))
        )
        for name in ("linearGradient", "radialGradient")
        for gradient in root.iter(name)
    }


@dataclass(frozen=True)
class _Paint:
    """One fill or stroke of a mark."""

    mark: int
    colours: tuple[Rgb, ...]
    area: int  # cells, hidden ones included


class _Canvas:
    """Cells that know which paint is on top of them."""

    def __init__(self, rows: int, columns: int, scale: float, gradients: dict[str, tuple[Rgb, ...]]) -> None:
        self.ground: Rgb | None = None
        self.is_legible = True
        self._shape, self._scale, self._gradients = (rows, columns), scale, gradients
        self._top = np.full((rows, columns), -1, dtype=np.int32)
        self._paints: list[_Paint] = []
        self._marks: list[Mark] = []

    def draw(self, element: Element) -> None:
        if element.tag == "text":
            self._draw_text(element)
            return
        contours = contours_of(element)
        fill = self._colours(element, "fill", "#000") if element.tag != "line" else ()
        stroke = self._colours(element, "stroke", "none")
        if contours and fill:
            self._draw_filled(contours, element, fill, stroke)
        elif stroke:
            for contour in contours:
                kinds = _stroked_kinds(contour, _value(element, "stroke-width", 1))
                self._add(kinds, [contour], is_open=not contour.is_closed)
                self._paint(self._stroked([contour], element), stroke)

    def _draw_filled(
        self, contours: list[Contour], element: Element, fill: tuple[Rgb, ...], stroke: tuple[Rgb, ...]
    ) -> None:
        cells = self._covered(contours, even_odd=element.get("fill-rule") == "evenodd")
        if not self._marks and cells.mean() >= _GROUND_SHARE:
            self.ground = fill[0]
            return
        if len(contours) == 1 or _is_ring(contours):
            self._add(_filled_kinds(contours), contours)
            self._paint(cells, fill)
        else:
            self._draw_parts(contours, cells, fill)
        if stroke and self._marks:
            self._paint(self._stroked(contours, element), stroke)

    def _draw_parts(self, contours: list[Contour], filled: Mask, fill: tuple[Rgb, ...]) -> None:
        """A path of several outlines: each that is no hole is a mark of its own."""
        for contour in contours:
            own = self._covered([contour], even_odd=False)
            part = own & filled
            if part.sum() > 0.5 * own.sum():
                self._add(kinds_of(contour.points), [contour])
                self._paint(part, fill)

    def _draw_text(self, element: Element) -> None:
        fill = self._colours(element, "fill", "#000")
        size, text = _value(element, "font-size", 16), element.text or ""
        if not fill or not text.strip():
            return
        rows, columns = self._shape
        x, y = (_place(element, name, side / self._scale) for name, side in (("x", columns), ("y", rows)))
        if x is None or y is None:
            self.is_legible = False
            return
        width = 0.6 * size * len(text)
        left = x - {"middle": width / 2, "end": width}.get(element.get("text-anchor", ""), 0.0)
        box = np.array([(left, y - 0.7 * size), (left + width, y - 0.7 * size), (left + width, y), (left, y)])
        contour = Contour(box, is_closed=True)
        cells = self._covered([contour], even_odd=False)
        cells[:, ::2] = False  # letters leave much of their ground to be seen
        self._add(NONE, [contour], is_text=True)
        self._paint(cells, fill)

    def _add(
        self, kinds: Kinds | None, contours: list[Contour], *, is_open: bool = False, is_text: bool = False
    ) -> None:
        boxes = np.array([contour.box for contour in contours]) * self._scale / _GRID
        left, top = boxes[:, :2].min(axis=0)
        right, bottom = boxes[:, 2:].max(axis=0)
        box = float(left), float(top), float(right), float(bottom)
        self._marks.append(Mark(kinds, (), np.zeros(self._shape, bool), box, is_open, is_text))

    def _paint(self, cells: Mask, colours: tuple[Rgb, ...]) -> None:
        """Fill or stroke of the newest mark."""
        self._paints.append(_Paint(len(self._marks) - 1, colours, int(cells.sum())))
        self._top[cells] = len(self._paints) - 1

    def marks(self) -> Iterator[Mark]:
        """What is to be seen in the end."""
        seen = np.bincount(self._top[self._top >= 0], minlength=len(self._paints))
        for index, mark in enumerate(self._marks):
            shown = [
                number
                for number, paint in enumerate(self._paints)
                if paint.mark == index and seen[number] >= max(_LEAST_CELLS, _LEAST_SHARE * paint.area)
            ]
            if shown:
                colours = tuple(
                    dict.fromkeys(rgb for number in shown for rgb in self._paints[number].colours)
                )
                yield replace(mark, colours=colours, cells=np.isin(self._top, shown))

    def _colours(self, element: Element, name: str, default: str) -> tuple[Rgb, ...]:
        """The colours of a paint as they look on white; none where nothing is painted."""
        value = element.get(name, default)
        if value.startswith("url(#"):
            return self._gradients.get(value[5:-1].rstrip(")"), ())
        opacity = _value(element, "opacity", 1) * _value(element, f"{name}-opacity", 1)
        rgb = None if value == "none" else rgb_of(value)
        if rgb is None or opacity < 0.05:
            return ()
        return (_on_white(rgb, opacity),)

    def _covered(self, contours: list[Contour], *, even_odd: bool) -> Mask:
        winding = np.zeros(self._shape, dtype=np.int16)
        for contour in contours:
            x, y = contour.points.T
            clockwise = x @ np.roll(y, -1) - y @ np.roll(x, -1) > 0
            picture, pen = self._sheet()
            points = [tuple(point) for point in contour.points * self._scale]
            if len(points) > 2:
                pen.polygon(points, fill=1)
            winding += np.asarray(picture, dtype=np.int16) * (1 if even_odd or clockwise else -1)
        return np.asarray(winding % 2 == 1 if even_odd else winding != 0)

    def _stroked(self, contours: list[Contour], element: Element) -> Mask:
        picture, pen = self._sheet()
        width = max(1, round(_value(element, "stroke-width", 1) * self._scale))
        for contour in contours:
            points = [tuple(point) for point in contour.points * self._scale]
            pen.line(points + points[: 2 if contour.is_closed else 0], fill=1, width=width, joint="curve")
        return np.asarray(picture, dtype=bool)

    def _sheet(self) -> tuple[Image.Image, ImageDraw.ImageDraw]:
        picture = Image.new("L", self._shape[::-1])
        return picture, ImageDraw.Draw(picture)


def _on_white(rgb: Rgb, opacity: float) -> Rgb:
    red, green, blue = (round(255 + opacity * (channel - 255)) for channel in rgb)
    return red, green, blue


def _filled_kinds(contours: list[Contour]) -> Kinds | None:
    if not _is_ring(contours):
        return kinds_of(contours[0].points)
    outer, inner = sorted((one.box[2] - one.box[0] for one in contours), reverse=True)
    return _round(1 - inner / outer)


def _stroked_kinds(contour: Contour, width: float) -> Kinds | None:
    if not contour.is_closed:
        return NONE if len(contour.points) == 2 else None
    kinds = kinds_of(contour.points)
    if kinds != frozenset(["circle"]):
        return kinds
    return _round(2 * width / (contour.box[2] - contour.box[0]))


def _round(thickness: float) -> Kinds:
    """A circle's outline, by its width as a share of the radius: a thin one is a circle, too."""
    return frozenset(["ring"]) if thickness > _THICK else frozenset(["ring", "circle"])


def _is_ring(contours: list[Contour]) -> bool:
    """Whether the second outline is a round hole in the middle of a circle, or the other way round."""
    if len(contours) != 2 or any(kinds_of(one.points) != frozenset(["circle"]) for one in contours):
        return False
    (left, top, right, bottom), (x0, y0, x1, y1) = (one.box for one in contours)
    return math.dist((left + right, top + bottom), (x0 + x1, y0 + y1)) < 0.1 * (right - left)


def _place(element: Element, name: str, side: float) -> float | None:
    """Where the first letter stands on that axis; None for units that hang on the font."""
    first, *_ = element.get(name, "").replace(",", " ").split() or ["0"]
    return length(first, percent_of=side)


def _value(element: Element, name: str, default: float) -> float:
    found = length(element.get(name))
    return default if found is None else found
