"""What kind of shape a closed outline is, by geometry alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

Kinds = frozenset[str]
NONE: Kinds = frozenset()

_SQUARE_ASPECT, _ROUND_ASPECT = 1.12, 1.15  # up to here a rectangle is a square, an ellipse a circle
_STRAY = 0.02  # of the diagonal: how far a point may be from the edge that stands for it


def kinds_of(points: Floats) -> Kinds | None:
    """The names that a closed outline (n, 2) bears; none of ours for one we know; None for one we do not."""
    extent = points.max(axis=0) - points.min(axis=0)
    if len(points) < 3 or min(extent) < 1e-6 * max(extent) or not max(extent):
        return NONE  # a line
    return _ellipse(points) or _semicircle(points) or _polygon(_corners(points)) or _curved(points, extent)


def _ellipse(points: Floats) -> Kinds | None:
    """Seen through the axes of its second moments an ellipse is a circle."""
    dense = _evenly(points, 128)
    centred = dense - dense.mean(axis=0)
    hull = _area(points)
    spread, axes = np.linalg.eigh(np.cov(centred.T))
    if spread[0] <= 0:
        return None
    turned = centred @ axes
    half = (turned.max(axis=0) - turned.min(axis=0)) / 2
    middle = (turned.max(axis=0) + turned.min(axis=0)) / 2
    radii = np.linalg.norm((turned - middle) / half, axis=1)
    if radii.max() - radii.min() > 0.06 or abs(hull / (np.pi * half.prod()) - 1) > 0.04:
        return None
    aspect = half.max() / half.min()
    return frozenset(["circle"]) if aspect <= _ROUND_ASPECT else frozenset(["oval"])


def _semicircle(points: Floats) -> Kinds | None:
    """All on a half circle about the middle of the longest edge."""
    edges = np.roll(points, -1, axis=0) - points
    lengths = np.linalg.norm(edges, axis=1)
    longest = int(lengths.argmax())
    middle, radius = points[longest] + edges[longest] / 2, lengths[longest] / 2
    distances = np.linalg.norm(points - middle, axis=1) / radius
    is_half = len(points) > 6 and np.abs(distances - 1).max() < 0.16
    return (
        frozenset(["semicircle"])
        if is_half and abs(_area(points) / (np.pi * radius**2 / 2) - 1) < 0.2
        else None
    )


def _polygon(corners: Floats) -> Kinds | None:
    n = len(corners)
    edges = np.roll(corners, -1, axis=0) - corners
    lengths = np.linalg.norm(edges, axis=1)
    before = np.roll(edges, 1, axis=0)
    turns = np.sign(before[:, 0] * edges[:, 1] - before[:, 1] * edges[:, 0])
    turns *= np.sign(turns.sum()) or 1
    dents = turns < 0
    if not dents.any():
        if n == 3:
            return frozenset(["triangle"])
        if n == 4:
            return _quadrilateral(edges, lengths)
        name = {5: "pentagon", 6: "hexagon", 8: "octagon"}.get(n)
        regular = lengths.max() / lengths.min() < 1.6
        return frozenset([name]) if name and regular else NONE if n <= 8 else None
    if n % 2 == 0 and n >= 8 and dents.sum() == n / 2 and (dents != np.roll(dents, 1)).all():
        return frozenset(["star"])
    if n == 12 and dents.sum() == 4 and dents.reshape(4, 3).sum(axis=1).tolist() == [1] * 4:
        return frozenset(["cross"])
    return NONE if n <= 8 else None


def _quadrilateral(edges: Floats, lengths: Floats) -> Kinds:
    cosines = (edges * np.roll(edges, -1, axis=0)).sum(axis=1) / (lengths * np.roll(lengths, -1))
    sides_equal = lengths.max() / lengths.min() < _SQUARE_ASPECT
    if np.abs(cosines).max() < 0.12:
        tilt = np.degrees(np.arctan2(*edges[0])) % 90
        if not sides_equal:
            return frozenset(["rectangle"])
        return frozenset(["square", "diamond"]) if 20 < tilt < 70 else frozenset(["square"])
    return frozenset(["diamond"]) if sides_equal else NONE


def _curved(points: Floats, extent: Floats) -> Kinds | None:
    """Rounded rectangles, hearts that stand upright, and crescents."""
    area, hull = _area(points), _hull(points)
    if area > 0.97 * _area(hull):
        if area < 0.88 * extent.prod():
            return None
        is_square = extent.max() / extent.min() < _SQUARE_ASPECT
        return frozenset(["square" if is_square else "rectangle"])
    if _is_heart(points, extent):
        return frozenset(["heart"])
    return frozenset(["crescent"]) if _is_crescent(points, hull, area) else None


def _is_heart(points: Floats, extent: Floats) -> bool:
    dense = _evenly(points, 256)
    unit = (dense - dense.min(axis=0)) / extent  # (0, 0) top left, (1, 1) bottom right
    top = unit[(np.abs(unit[:, 0] - 0.5) < 0.05) & (unit[:, 1] < 0.6)][:, 1]
    low = unit[unit[:, 1] > 0.97][:, 0]
    left, right = (unit[np.abs(unit[:, 0] - x) < 0.08][:, 1].min(initial=1.0) for x in (0.22, 0.78))
    return bool(
        len(top)
        and np.abs(low - 0.5).max(initial=0.0) < 0.15
        and top.min() > max(left, right) + 0.06
        and 0.55 < _area(points) / extent.prod() < 0.85
    )


def _is_crescent(points: Floats, hull: Floats, area: float) -> bool:
    """Its hull is most of a circle, out of which one side is bitten."""
    round_part = _evenly(hull, 256)
    gaps = np.linalg.norm(np.roll(hull, -1, axis=0) - hull, axis=1)
    widest = int(gaps.argmax())
    start, end = hull[widest], hull[(widest + 1) % len(hull)]
    chord = np.linalg.norm(end - start)
    normal = np.array([-(end - start)[1], (end - start)[0]]) / max(chord, 1e-9)
    on_arc = round_part[np.abs((round_part - start) @ normal) > 0.05 * chord]
    if len(on_arc) < 32:
        return False
    centre, radius = _circle_through(on_arc)
    off = np.abs(np.linalg.norm(on_arc - centre, axis=1) / radius - 1).max()
    return bool(off < 0.09 and 0.08 < area / _area(hull) < 0.85 and chord > 0.5 * radius)


def _circle_through(points: Floats) -> tuple[Floats, float]:
    system = np.column_stack([2 * points, np.ones(len(points))])
    (x, y, rest), *_ = np.linalg.lstsq(system, (points**2).sum(axis=1), rcond=None)
    return np.array([x, y]), float(np.sqrt(max(rest + x**2 + y**2, 1e-9)))


def _corners(points: Floats) -> Floats:
    """The outline with as few points as stay near to all (Douglas and Peucker, 1973)."""
    diagonal = float(np.linalg.norm(points.max(axis=0) - points.min(axis=0)))
    first = int(np.linalg.norm(points - points.mean(axis=0), axis=1).argmax())
    ring = np.roll(points, -first, axis=0)
    far = int(np.linalg.norm(ring - ring[0], axis=1).argmax())
    halves = (ring[: far + 1], np.concatenate([ring[far:], ring[:1]]))
    return np.concatenate([_simplified(half, _STRAY * diagonal)[:-1] for half in halves])


def _simplified(line: Floats, stray: float) -> Floats:
    kept = np.zeros(len(line), dtype=bool)
    kept[[0, -1]] = True
    open_spans = [(0, len(line) - 1)]
    while open_spans:
        first, last = open_spans.pop()
        if last - first < 2:
            continue
        chord = line[last] - line[first]
        offsets = line[first + 1 : last] - line[first]
        length = np.linalg.norm(chord)
        distances = (
            np.abs(chord[0] * offsets[:, 1] - chord[1] * offsets[:, 0]) / length
            if length > 0
            else np.linalg.norm(offsets, axis=1)
        )
        if distances.max() > stray:
            farthest = first + 1 + int(distances.argmax())
            kept[farthest] = True
            open_spans += [(first, farthest), (farthest, last)]
    return line[kept]


def _evenly(points: Floats, count: int) -> Floats:
    """`count` points at equal distances along the closed outline."""
    ring = np.concatenate([points, points[:1]])
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(ring, axis=0), axis=1))])
    at = np.linspace(0, along[-1], count, endpoint=False)
    return np.column_stack([np.interp(at, along, ring[:, axis]) for axis in (0, 1)])


def _area(points: Floats) -> float:
    x, y = points.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def _hull(points: Floats) -> Floats:
    """The convex hull (Andrew's monotone chain)."""
    ordered = sorted({(float(x), float(y)) for x, y in points})

    def chain(along: list[tuple[float, float]]) -> list[tuple[float, float]]:
        found: list[tuple[float, float]] = []
        for x, y in along:
            while len(found) > 1 and (found[-1][0] - found[-2][0]) * (y - found[-2][1]) <= (
                found[-1][1] - found[-2][1]
            ) * (x - found[-2][0]):
                found.pop()
            found.append((x, y))
        return found[:-1]

    return np.array(chain(ordered) + chain(ordered[::-1]))
