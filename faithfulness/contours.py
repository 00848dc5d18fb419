"""Outlines of canonical elements as points: curves and arcs become short straight lines."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np
import numpy.typing as npt

from rendering.geometry import apply, length, numbers, parse_transform
from rendering.paths import Segment, absolute, parse_path

Floats = npt.NDArray[np.float64]
Point = tuple[float, float]

_STEPS = 16  # points on a curve or a quarter of an ellipse
_MOST_SEGMENTS = 5_000


@dataclass(frozen=True)
class Contour:
    points: Floats  # (n, 2); the first is not said again at the end
    is_closed: bool

    @property
    def box(self) -> tuple[float, float, float, float]:
        """left, top, right, bottom"""
        (left, top), (right, bottom) = self.points.min(axis=0), self.points.max(axis=0)
        return float(left), float(top), float(right), float(bottom)


def contours_of(element: Element) -> list[Contour]:
    """The outlines of a canonical shape in grid units; none for text and what has no outline."""
    matrix = parse_transform(element.get("transform", ""))
    found = [
        Contour(np.array(points, dtype=float), is_closed)
        for points, is_closed in _outlines(element)
        if points
    ]
    if not element.get("transform") or matrix is None:
        return found
    return [
        Contour(np.array([apply(matrix, float(x), float(y)) for x, y in one.points]), one.is_closed)
        for one in found
    ]


def _outlines(element: Element) -> Iterator[tuple[list[Point], bool]]:
    def value(name: str) -> float:
        return length(element.get(name)) or 0.0

    match element.tag:
        case "rect":
            yield _rect(value("x"), value("y"), value("width"), value("height"), element), True
        case "circle":
            yield _ellipse(value("cx"), value("cy"), value("r"), value("r")), True
        case "ellipse":
            yield _ellipse(value("cx"), value("cy"), value("rx"), value("ry")), True
        case "line":
            yield [(value("x1"), value("y1")), (value("x2"), value("y2"))], False
        case "polyline" | "polygon":
            flat = numbers(element.get("points", ""), 2 * _MOST_SEGMENTS)
            yield list(zip(flat[::2], flat[1::2], strict=False)), element.tag == "polygon"
        case "path":
            yield from _subpaths(absolute(parse_path(element.get("d", ""), _MOST_SEGMENTS)))


def _rect(x: float, y: float, width: float, height: float, element: Element) -> list[Point]:
    radii = [length(element.get(name)) for name in ("rx", "ry")]
    rx, ry = (
        min(own or other or 0.0, most / 2)
        for own, other, most in zip(radii, radii[::-1], (width, height), strict=True)
    )
    if not rx or not ry:
        return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    quarter = [math.pi / 2 * step / _STEPS for step in range(_STEPS + 1)]
    centres = [
        (x + width - rx, y + height - ry, 0),
        (x + rx, y + height - ry, 1),
        (x + rx, y + ry, 2),
        (x + width - rx, y + ry, 3),
    ]
    return [
        (cx + rx * math.cos(angle + turn * math.pi / 2), cy + ry * math.sin(angle + turn * math.pi / 2))
        for cx, cy, turn in centres
        for angle in quarter
    ]


def _ellipse(cx: float, cy: float, rx: float, ry: float) -> list[Point]:
    angles = (math.tau * step / (4 * _STEPS) for step in range(4 * _STEPS))
    return [(cx + rx * math.cos(angle), cy + ry * math.sin(angle)) for angle in angles]


def _subpaths(segments: Sequence[Segment]) -> Iterator[tuple[list[Point], bool]]:
    points: list[Point] = []
    for command, values in segments:
        if command == "Z":
            yield _opened(points), True
            points = points[:1]
            continue
        if command == "M":
            if len(points) > 1:
                yield _ended(points)
            points = []
        points += _sampled(points[-1] if points else (0.0, 0.0), command, values)
    if len(points) > 1:
        yield _ended(points)


def _ended(points: list[Point]) -> tuple[list[Point], bool]:
    """A subpath without `Z` is closed where it ends at its beginning."""
    return (_opened(points), True) if math.dist(points[0], points[-1]) < 1.0 else (points, False)


def _opened(points: list[Point]) -> list[Point]:
    return points[:-1] if len(points) > 1 and math.dist(points[0], points[-1]) < 1.0 else points


def _sampled(start: Point, command: str, values: Sequence[float]) -> list[Point]:
    if command == "A":
        return _arc(start, values)
    controls = [start, *zip(values[::2], values[1::2], strict=True)]
    if command in "ML":
        return controls[1:]
    t = np.linspace(0, 1, _STEPS + 1)[1:, None]
    degree = len(controls) - 1
    curve = sum(
        math.comb(degree, i) * t**i * (1 - t) ** (degree - i) * np.array(control)
        for i, control in enumerate(controls)
    )
    return [(float(x), float(y)) for x, y in np.asarray(curve)]


def _arc(start: Point, values: Sequence[float]) -> list[Point]:
    """SVG 1.1, appendix F.6: from end points to the centre, radii scaled up where they are too small."""
    rx, ry, degrees, large, sweep, *end = values
    if math.dist(start, end) < 1e-9:
        return []
    turn = complex(math.cos(math.radians(degrees)), math.sin(math.radians(degrees)))
    p, q = complex(*start) / turn, complex(*end) / turn
    p, q = complex(p.real / rx, p.imag / ry), complex(q.real / rx, q.imag / ry)  # on a circle of radius 1
    half = abs(q - p) / 2
    scale = max(half, 1.0)
    height = math.sqrt(max(scale**2 - half**2, 0.0))
    side = 1 if bool(large) != bool(sweep) else -1
    centre = (p + q) / 2 + side * height * (q - p) / abs(q - p) * 1j
    first, last = (math.atan2((end - centre).imag, (end - centre).real) for end in (p, q))
    span = (last - first) % math.tau if sweep else -((first - last) % math.tau)
    steps = max(2, math.ceil(abs(span) / (math.pi / 2) * _STEPS))
    angles = [first + span * step / steps for step in range(1, steps + 1)]
    unit = [centre + scale * complex(math.cos(angle), math.sin(angle)) for angle in angles]
    placed = [complex(point.real * rx, point.imag * ry) * turn for point in unit]
    return [(point.real, point.imag) for point in placed]
