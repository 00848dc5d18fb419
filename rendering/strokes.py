"""Where a stroke's corners and ends reach (SVG 1.1, section 11.4): what rounding a path must not move.

A side as short as the grid's unit has another direction once it is rounded, and a pointed corner
of a wide pen lies far from its point: by the half of the pen's width, times the miter.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rendering.arcs import arc_tangents
from rendering.geometry import length

_LEAST_TURN = 0.2  # radians: of less, a corner stands out by no more than a fiftieth of the pen's half
_NOISE = 1e-6  # grid units: a side shorter than that has no direction


@dataclass(frozen=True)
class Pen:
    """How a stroke is drawn, in the units of its path."""

    half_width: float
    join: str
    cap: str
    miter_limit: float
    is_dashed: bool

    @classmethod
    def of(cls, properties: Mapping[str, str], scale: float) -> Pen | None:
        """The pen of presentation properties whose lengths grow by `scale`; None if nothing is stroked."""
        if properties.get("stroke", "none") == "none":
            return None
        width = length(properties.get("stroke-width", "1"))
        return cls(
            (1.0 if width is None else width) * scale / 2,
            properties.get("stroke-linejoin", "miter"),
            properties.get("stroke-linecap", "butt"),
            length(properties.get("stroke-miterlimit")) or 4.0,
            "stroke-dasharray" in properties,
        )


@dataclass(frozen=True)
class _Side:
    start: complex
    end: complex
    leaves: complex  # directions of length 1
    arrives: complex


def reach(segments: Sequence[tuple[str, tuple[float, ...]]], pen: Pen) -> Iterator[complex]:
    """The points x + iy that corners and ends of a stroke along absolute segments reach farthest out."""
    for run, is_closed in _runs(segments):
        if not is_closed and pen.cap != "round":
            for point, direction in ((run[0].start, -run[0].leaves), (run[-1].end, run[-1].arrives)):
                out = direction * pen.half_width
                middle = point + out if pen.cap == "square" else point
                yield from (middle + out * 1j, middle - out * 1j)
        if pen.join != "round":
            for before, after in pairwise([*run, run[0]] if is_closed else run):
                yield from _corner(before, after, pen)


def sides(segments: Sequence[tuple[str, tuple[float, ...]]], pen: Pen) -> Iterator[complex]:
    """The points beside the ends of all sides, at half the pen's width to the left and to the right."""
    for run, _ in _runs(segments):
        for side in run:
            for point, direction in ((side.start, side.leaves), (side.end, side.arrives)):
                out = direction * pen.half_width * 1j
                yield from (point + out, point - out)


def _corner(before: _Side, after: _Side, pen: Pen) -> Iterator[complex]:
    turn = cmath.phase(after.leaves / before.arrives)
    if abs(turn) < _LEAST_TURN:
        return
    outward = -1j if turn > 0 else 1j
    first, second = outward * before.arrives, outward * after.leaves
    if pen.join == "miter" and pen.miter_limit * math.cos(turn / 2) >= 1:
        yield after.start + pen.half_width * (first + second) / (1 + math.cos(turn))
    else:
        yield from (after.start + pen.half_width * first, after.start + pen.half_width * second)


def _runs(segments: Sequence[tuple[str, tuple[float, ...]]]) -> Iterator[tuple[list[_Side], bool]]:
    """The sides of every connected line, and whether it is closed; without sides that have no direction."""
    sides: list[_Side] = []
    here = start = 0j
    for command, values in segments:
        end = start if command == "Z" else complex(*values[-2:])
        if command == "M":
            if sides:
                yield sides, False
            sides, start = [], end
        elif (side := _side(here, command, values, end)) is not None:
            sides.append(side)
        if command == "Z" and sides:
            yield sides, True
            sides = []
        here = end
    if sides:
        yield sides, False


def _side(here: complex, command: str, values: Sequence[float], end: complex) -> _Side | None:
    if command == "A":
        leaves, arrives = (complex(*d) for d in arc_tangents((here.real, here.imag), values))
    else:
        middle = [complex(*values[i : i + 2]) for i in range(0, len(values) - 2, 2)]
        leaves = _first_direction([point - here for point in (*middle, end)])
        arrives = _first_direction([end - point for point in (*reversed(middle), here)])
    if not leaves or not arrives:
        return None
    return _Side(here, end, leaves / abs(leaves), arrives / abs(arrives))


def _first_direction(steps: Sequence[complex]) -> complex:
    return next((step for step in steps if abs(step) > _NOISE), 0j)
