"""Drawing primitives on an abstract canvas, 100 units high, and the plain shapes built from them.

Knows nothing of SVG syntax: `dialects` writes marks down, each time in another way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from training.corpora.palette import Ink

Point = tuple[float, float]
Segment = tuple[str, tuple[float, ...]]  # an absolute path command and its numbers: M L C Q A Z


@dataclass(frozen=True)
class Paint:
    """How a mark is coloured; widths in canvas units."""

    fill: Ink | None = None
    stroke: Ink | None = None
    width: float = 0.0


@dataclass(frozen=True)
class Ellipse:
    cx: float
    cy: float
    rx: float
    ry: float


@dataclass(frozen=True)
class Rect:
    x: float
    y: float
    width: float
    height: float
    radius: float = 0.0


@dataclass(frozen=True)
class Poly:
    points: tuple[Point, ...]
    closed: bool = True


@dataclass(frozen=True)
class Curve:
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Label:
    """Text centred on (cx, cy); `size` is the font size."""

    cx: float
    cy: float
    text: str
    size: float
    bold: bool = False


Geometry = Ellipse | Rect | Poly | Curve | Label


@dataclass(frozen=True)
class Mark:
    geometry: Geometry
    paint: Paint


def circle(cx: float, cy: float, r: float, paint: Paint) -> Mark:
    return Mark(Ellipse(cx, cy, r, r), paint)


def ellipse(cx: float, cy: float, rx: float, ry: float, paint: Paint) -> Mark:
    return Mark(Ellipse(cx, cy, rx, ry), paint)


def rect(x: float, y: float, width: float, height: float, paint: Paint, *, radius: float = 0.0) -> Mark:
    return Mark(Rect(x, y, width, height, radius), paint)


def stripe(start: float, thickness: float, length: float, paint: Paint, *, flat: bool) -> Mark:
    """A band from edge to edge: `flat` ones are stacked, the others stand side by side."""
    return rect(0, start, length, thickness, paint) if flat else rect(start, 0, thickness, length, paint)


def poly(points: Iterable[Point], paint: Paint, closed: bool = True) -> Mark:
    return Mark(Poly(tuple(points), closed), paint)


def line(x1: float, y1: float, x2: float, y2: float, paint: Paint) -> Mark:
    return poly(((x1, y1), (x2, y2)), paint, closed=False)


def curve(data: str, paint: Paint) -> Mark:
    """A path from absolute commands, written as `M 0 0 L 1 1`."""
    segments: list[Segment] = []
    for token in data.split():
        if token.isalpha():
            segments.append((token, ()))
        else:
            letter, numbers = segments[-1]
            segments[-1] = (letter, (*numbers, float(token)))
    return Mark(Curve(tuple(segments)), paint)


def moved(mark: Mark, scale: float, dx: float, dy: float) -> Mark:
    """The mark scaled about the origin, then shifted."""
    paint = replace(mark.paint, width=mark.paint.width * scale)
    match mark.geometry:
        case Ellipse(cx, cy, rx, ry):
            return Mark(Ellipse(cx * scale + dx, cy * scale + dy, rx * scale, ry * scale), paint)
        case Rect(x, y, width, height, radius):
            placed = Rect(x * scale + dx, y * scale + dy, width * scale, height * scale, radius * scale)
            return Mark(placed, paint)
        case Poly(points, closed):
            return Mark(Poly(tuple((x * scale + dx, y * scale + dy) for x, y in points), closed), paint)
        case Curve(segments):
            return Mark(Curve(tuple(_moved_segment(segment, scale, dx, dy) for segment in segments)), paint)
        case Label(cx, cy, text, size, bold):
            return Mark(Label(cx * scale + dx, cy * scale + dy, text, size * scale, bold), paint)


def _moved_segment(segment: Segment, scale: float, dx: float, dy: float) -> Segment:
    letter, numbers = segment
    if letter == "A":
        rx, ry, angle, large, sweep, x, y = numbers
        return letter, (rx * scale, ry * scale, angle, large, sweep, x * scale + dx, y * scale + dy)
    return letter, tuple(n * scale + (dy if i % 2 else dx) for i, n in enumerate(numbers))


def segments_of(geometry: Ellipse | Rect | Poly | Curve) -> tuple[Segment, ...]:
    """Any geometry but text as path segments."""
    match geometry:
        case Curve(segments):
            return segments
        case Poly(points, closed):
            outline: tuple[Segment, ...] = (("M", points[0]), *(("L", p) for p in points[1:]))
            return (*outline, ("Z", ())) if closed else outline
        case Ellipse(cx, cy, rx, ry):
            left, right = (cx - rx, cy), (cx + rx, cy)
            half = (rx, ry, 0.0, 1.0, 0.0)
            return ("M", left), ("A", (*half, *right)), ("A", (*half, *left)), ("Z", ())
        case Rect(x, y, width, height, radius):
            return _rect_segments(x, y, x + width, y + height, radius)


def _rect_segments(x0: float, y0: float, x1: float, y1: float, r: float) -> tuple[Segment, ...]:
    if not r:
        return segments_of(Poly(((x0, y0), (x1, y0), (x1, y1), (x0, y1))))
    corner = (r, r, 0.0, 0.0, 1.0)
    return (
        ("M", (x0 + r, y0)), ("L", (x1 - r, y0)), ("A", (*corner, x1, y0 + r)),
        ("L", (x1, y1 - r)), ("A", (*corner, x1 - r, y1)), ("L", (x0 + r, y1)),
        ("A", (*corner, x0, y1 - r)), ("L", (x0, y0 + r)), ("A", (*corner, x0 + r, y0)), ("Z", ()),
    )  # fmt: skip


def ring_of_points(cx: float, cy: float, r: float, count: int, start_degrees: float = -90.0) -> list[Point]:
    """`count` points evenly on a circle, clockwise from the top."""
    angles = [math.radians(start_degrees + 360 * i / count) for i in range(count)]
    return [(cx + r * math.cos(t), cy + r * math.sin(t)) for t in angles]


def star_points(cx: float, cy: float, r: float, spikes: int = 5, inner: float = 0.42) -> list[Point]:
    outer = ring_of_points(cx, cy, r, spikes)
    dents = ring_of_points(cx, cy, r * inner, spikes, -90 + 180 / spikes)
    return [point for pair in zip(outer, dents, strict=True) for point in pair]


def _regular(sides: int) -> Callable[[Paint], Mark]:
    return lambda paint: poly(ring_of_points(0, 0, 1, sides), paint)


def _cross(paint: Paint) -> Mark:
    b = 0.33
    arms = [
        (-b, -1),
        (b, -1),
        (b, -b),
        (1, -b),
        (1, b),
        (b, b),
        (b, 1),
        (-b, 1),
        (-b, b),
        (-1, b),
        (-1, -b),
        (-b, -b),
    ]
    return poly(arms, paint)


# Every shape is drawn about the origin with a half extent of 1.
_UNIT_SHAPES: dict[str, Callable[[Paint], Mark]] = {
    "circle": lambda paint: circle(0, 0, 1, paint),
    "square": lambda paint: rect(-0.88, -0.88, 1.76, 1.76, paint),
    "triangle": lambda paint: poly([(0, -0.95), (1, 0.8), (-1, 0.8)], paint),
    "rectangle": lambda paint: rect(-1, -0.55, 2, 1.1, paint),
    "oval": lambda paint: ellipse(0, 0, 1, 0.6, paint),
    "star": lambda paint: poly(star_points(0, 0, 1), paint),
    "heart": lambda paint: curve(
        "M 0 0.9 C -0.5 0.5 -1 0.1 -1 -0.4 C -1 -0.95 -0.25 -1 0 -0.45 "
        "C 0.25 -1 1 -0.95 1 -0.4 C 1 0.1 0.5 0.5 0 0.9 Z",
        paint,
    ),
    "diamond": lambda paint: poly([(0, -1), (0.75, 0), (0, 1), (-0.75, 0)], paint),
    "pentagon": _regular(5),
    "hexagon": _regular(6),
    "cross": _cross,
    "crescent": lambda paint: curve(
        "M 0.45 -0.95 A 1 1 0 1 0 0.45 0.95 A 0.78 0.78 0 1 1 0.45 -0.95 Z", paint
    ),
    "semicircle": lambda paint: curve("M -1 0.5 A 1 1 0 0 1 1 0.5 Z", paint),
}

SHAPES: tuple[str, ...] = (*_UNIT_SHAPES, "ring")


def shape_mark(shape: str, cx: float, cy: float, r: float, ink: Ink, *, outlined: bool = False) -> Mark:
    """A shape of half extent `r`, filled or as a thin outline."""
    if shape == "ring":
        return circle(cx, cy, r * 0.8, Paint(stroke=ink, width=r * 0.38))
    paint = Paint(stroke=ink, width=0.12) if outlined else Paint(fill=ink)
    return moved(_UNIT_SHAPES[shape](paint), r, cx, cy)
