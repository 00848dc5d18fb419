"""Elliptical arcs (SVG 1.1, section 8.3.8): their centre, their image under a map, and rounding them.

An arc is the arguments of a path's A command: (rx, ry, angle, large, sweep, x, y), and starts elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rendering.geometry import Matrix, Point, apply, is_similarity, mean_scale

# More decimals than a coordinate has: a radius may need them where an arc is nearly a semicircle.
RADIUS_DIGITS = 3
ANGLE_DIGITS = 2  # of an ellipse's axis: a quarter of a degree moves a long arc by whole grid units
_MAX_SHIFT = 1.5  # grid units that rounding may move what a large arc reaches


def transform_arc(arc: Sequence[float], m: Matrix) -> tuple[float, ...]:
    rx, ry, angle, large, sweep, x, y = arc
    determinant = m[0] * m[3] - m[1] * m[2]
    sweep = sweep if determinant >= 0 else 1 - sweep
    if is_similarity(m) and abs(rx - ry) < 1e-6 * rx:
        scale = mean_scale(m)
        return (rx * scale, ry * scale, 0.0, large, sweep, *apply(m, x, y))
    # The image of the unit circle under N = M R(angle) diag(rx, ry): semi-axes are N's singular values.
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    a, b = (m[0] * cosine + m[2] * sine) * rx, (m[1] * cosine + m[3] * sine) * rx
    c, d = (m[2] * cosine - m[0] * sine) * ry, (m[3] * cosine - m[1] * sine) * ry
    total, difference = a * a + b * b + c * c + d * d, a * a - b * b + c * c - d * d
    cross = 2 * (a * b + c * d)
    spread = math.hypot(difference, cross)
    major, minor = math.sqrt((total + spread) / 2), math.sqrt(max(total - spread, 0.0) / 2)
    axis = math.degrees(0.5 * math.atan2(cross, difference)) if spread > 1e-9 * total else 0.0
    return (major, minor, axis, large, sweep, *apply(m, x, y))


def round_arc(arc: Sequence[float], exact: Point, here: Point, decimals: int) -> list[tuple[float, ...]]:
    """The arc from `exact` with its end on the grid of `decimals`, as it continues from `here`, also on it.

    A large arc whose ends are near turns about them when they are rounded; it comes back in two halves
    where that would show. What no longer has an extent is left out.
    """
    end = arc[5], arc[6]
    if arc[3]:
        whole = _round_ends(arc, exact, here, decimals)
        if whole is None and exact == end:
            return []  # an arc from a point to itself is not drawn (SVG 1.1, F.6.2)
        true = arc_middle(exact, arc)
        if whole is None or math.dist(true, arc_middle(here, whole)) > _MAX_SHIFT * 10**-decimals:
            halves: list[tuple[float, ...]] = []
            for stop in (true, end):
                half = _round_ends((*arc[:3], 0.0, arc[4], *stop), exact, here, decimals)
                exact = stop
                if half is not None:
                    halves.append(half)
                    here = half[5], half[6]
            return halves
        return [whole]
    rounded = _round_ends(arc, exact, here, decimals)
    return [] if rounded is None else [rounded]


def _round_ends(arc: Sequence[float], exact: Point, here: Point, decimals: int) -> tuple[float, ...] | None:
    end = round(arc[5], decimals), round(arc[6], decimals)
    if end == here:
        return None
    shape = _shape(arc, (exact, (arc[5], arc[6])), (here, end), decimals)
    return (*shape, arc[3], arc[4], *end)


def _shape(
    arc: Sequence[float], exact: tuple[Point, Point], rounded: tuple[Point, Point], decimals: int
) -> list[float]:
    """Radii and axis for an arc between rounded ends that bulges as far as the exact arc does.

    The centre of a near-semicircle moves far when its ends move a little, so radii are chosen anew:
    the shortest numbers whose bulge is within half a grid unit of the true one.
    """
    rx, ry, angle = arc[0], arc[1], round(arc[2], ANGLE_DIGITS) % 180
    if abs(rx - ry) <= 10**-decimals:
        rx, ry, angle = (rx + ry) / 2, (rx + ry) / 2, 0.0
    if exact == rounded and all(r == round(r, decimals + RADIUS_DIGITS) for r in (rx, ry)):
        return [rx, ry, angle]  # already canonical
    bulge = _bulge(exact[0], (*arc[:5], *exact[1]))
    u, v, stretch = _half_chord(rounded[0], (rx, ry, angle, *arc[3:5], *rounded[1]))
    chord = math.hypot(u, v)
    depth = bulge * chord / math.hypot(rx * v, ry * u)  # of the bulge, where the ellipse is the unit circle
    scale = (depth * depth + (chord * stretch) ** 2) / (2 * depth) if depth > 0 else 1.0
    for digits in range(decimals, decimals + RADIUS_DIGITS + 1):
        radii = [round(r * scale, digits) for r in (rx, ry)]
        is_near = all(radii) and (
            abs(_bulge(rounded[0], (*radii, angle, *arc[3:5], *rounded[1])) - bulge) <= 0.5 * 10**-decimals
        )
        if is_near:
            break
    return [*radii, angle] if all(radii) else [rx * scale, ry * scale, angle]


def _bulge(start: Point, arc: Sequence[float]) -> float:
    """How far an arc stands out from its chord: of a circle, its sagitta."""
    rx, ry, _, large = arc[:4]
    u, v, stretch = _half_chord(start, arc)
    reach = min(math.hypot(u, v), 1.0)
    depth = math.sqrt(1 - reach * reach)
    height = math.hypot(rx * v, ry * u) / reach * stretch if reach else 0.0
    return height * (1 + depth if large else 1 - depth)


def _half_chord(start: Point, arc: Sequence[float]) -> tuple[float, float, float]:
    """Half of an arc's chord where its ellipse is the unit circle, and how much short radii are stretched."""
    rx, ry, angle, _, _, x, y = arc
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    dx, dy = (start[0] - x) / 2, (start[1] - y) / 2
    u, v = (cosine * dx + sine * dy) / rx, (-sine * dx + cosine * dy) / ry
    stretch = max(1.0, math.hypot(u, v))
    return u / stretch, v / stretch, stretch


def arc_centre(start: Point, arc: Sequence[float]) -> tuple[float, float, float, float]:
    """Centre, absolute angle turned, and how much short radii are stretched (SVG 1.1, F.6.5 and F.6.6)."""
    _, _, _, large, sweep, x, y = arc
    u, v, stretch = _half_chord(start, arc)
    reach = min(u * u + v * v, 1.0)
    if not reach:
        return (*start, 0.0, 1.0)
    factor = math.sqrt(max(1 / reach - 1, 0.0)) * (-1 if large == sweep else 1)
    dx, dy = _from_unit_circle(arc, factor * v * stretch, -factor * u * stretch)
    half = 2 * math.asin(min(math.sqrt(reach), 1.0))
    centre = (start[0] + x) / 2 + dx, (start[1] + y) / 2 + dy
    return (*centre, 2 * math.pi - half if large else half, stretch)


def arc_middle(start: Point, arc: Sequence[float]) -> Point:
    """The point half-way along an arc between two different points."""
    cx, cy, _, stretch = arc_centre(start, arc)
    u, v, _ = _half_chord(start, arc)
    factor = stretch / math.hypot(u, v) * (1 if arc[4] else -1)
    dx, dy = _from_unit_circle(arc, -v * factor, u * factor)
    return cx + dx, cy + dy


def arc_tangents(start: Point, arc: Sequence[float]) -> tuple[Point, Point]:
    """The directions in which an arc leaves its start and arrives at its end; (0, 0) if those are one."""
    cx, cy, *_ = arc_centre(start, arc)
    rx, ry, angle, _, sweep, x, y = arc
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    sign = 1 if sweep else -1
    directions = []
    for dx, dy in ((start[0] - cx, start[1] - cy), (x - cx, y - cy)):
        u, v = (cosine * dx + sine * dy) / rx, (-sine * dx + cosine * dy) / ry
        directions.append(_from_unit_circle(arc, -v * sign, u * sign))
    return directions[0], directions[1]


def _from_unit_circle(arc: Sequence[float], u: float, v: float) -> Point:
    rx, ry, angle = arc[:3]
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return cosine * rx * u - sine * ry * v, sine * rx * u + cosine * ry * v
