"""Path data (SVG 1.1, section 8.3): read, make absolute, transform, write in one short form.

A segment is (command, arguments) with one command letter and exactly its arguments.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import pairwise

from rendering.arcs import ANGLE_DIGITS, RADIUS_DIGITS, arc_centre, round_arc, transform_arc
from rendering.geometry import (
    MAX_COORDINATE,
    NUMBER,
    SEPARATORS,
    Matrix,
    Point,
    apply,
    join,
    short,
    skip_separators,
)
from rendering.strokes import Pen, reach, sides

Segment = tuple[str, tuple[float, ...]]
Cell = tuple[int, int]

_ARGUMENTS = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "A": 7, "Z": 0}


def _argument_list(command: str, count: int) -> re.Pattern[str]:
    """All arguments of a command at once; a number ends where it can go no further: nothing twice."""
    flags = (3, 4) if command == "A" else ()
    kinds = ["[01]" if index in flags else f"(?>{NUMBER.pattern})" for index in range(count)]
    return re.compile("".join(f"({kind})[{SEPARATORS}]*+" for kind in kinds))


_ARGUMENT_LISTS = {command: _argument_list(command, count) for command, count in _ARGUMENTS.items()}

_SMOOTH = {"S": "C", "T": "Q"}
_SHORTHAND = {"C": "S", "Q": "T"}
_ELLIPSE = re.compile("MA{2,4}Z?")
_SNAP = 1  # grid units: a control point so near to where a smooth curve has it counts as being there
_TOLERANCE = 1  # grid units that rounding may move a stroke's corners
_MOST_EXTRA_DECIMALS = 3
_NOISE = 1e-6


def parse_path(text: str, max_segments: int) -> list[Segment]:
    """The valid beginning of path data, as the standard asks: everything before the first error.

    At most `max_segments` + 1 segments are returned, so that a caller can tell "too many".
    """
    segments: list[Segment] = []
    position = skip_separators(text, 0)
    command = ""
    while position < len(text) and len(segments) <= max_segments:
        if text[position].isascii() and text[position].upper() in _ARGUMENTS:
            command = text[position]
            position = skip_separators(text, position + 1)
        elif not command or command in "Zz":
            break
        if not segments and command not in "Mm":
            break
        arguments, position = _arguments(text, position, command)
        if arguments is None:
            break
        segments.append((command, arguments))
        command = {"M": "L", "m": "l"}.get(command, command)
    return segments


def _arguments(text: str, position: int, command: str) -> tuple[tuple[float, ...] | None, int]:
    match = _ARGUMENT_LISTS[command.upper()].match(text, position)
    if match is None:
        return None, position
    values = tuple(map(float, match.groups()))
    if any(abs(value) > MAX_COORDINATE for value in values):
        return None, position
    return values, match.end()


def absolute(segments: Sequence[Segment]) -> list[Segment]:
    """The same path in absolute M, L, C, Q, A, Z only."""
    result: list[Segment] = []
    x = y = start_x = start_y = 0.0
    for command, values in segments:
        upper, relative = command.upper(), command.islower()
        dx, dy = (x, y) if relative else (0.0, 0.0)
        match upper:
            case "Z":
                x, y = start_x, start_y
                result.append(("Z", ()))
                continue
            case "H":
                points = [values[0] + dx, y]
            case "V":
                points = [x, values[0] + dy]
            case "A":
                points = [values[5] + dx, values[6] + dy]
            case _:
                points = [v + (dy if i % 2 else dx) for i, v in enumerate(values)]
        if upper in _SMOOTH:
            upper = _SMOOTH[upper]
            points = [*_reflected(result, upper, (x, y)), *points]
        x, y = points[-2], points[-1]
        if upper == "M":
            start_x, start_y = x, y
        if upper == "A":
            result.extend(_arc_segments(values, (x, y)))
        else:
            result.append(("L" if upper in "HV" else upper, tuple(points)))
    return result


def _reflected(before: Sequence[Segment], curve: str, here: Point) -> Point:
    """The first control point of a smooth curve: the last one of a curve of its kind, seen across `here`."""
    if not before or before[-1][0] != curve:
        return here
    control = before[-1][1][-4:-2]
    return (2 * here[0] - control[0], 2 * here[1] - control[1])


def _arc_segments(values: Sequence[float], end: Point) -> list[Segment]:
    rx, ry = abs(values[0]), abs(values[1])
    if rx == 0 or ry == 0:
        return [("L", end)]
    return [("A", (rx, ry, values[2], values[3], values[4], *end))]


def transform(segments: Sequence[Segment], m: Matrix) -> list[Segment]:
    """Absolute segments under an affine map; arcs stay arcs (their ellipse is mapped exactly)."""
    return [
        (command, transform_arc(values, m) if command == "A" else _transform_points(values, m))
        for command, values in segments
    ]


def _transform_points(values: Sequence[float], m: Matrix) -> tuple[float, ...]:
    return tuple(v for i in range(0, len(values), 2) for v in apply(m, values[i], values[i + 1]))


def format_path(
    segments: Sequence[Segment], decimals: int = 0, *, filled: bool = False, pen: Pen | None = None
) -> str:
    """Absolute segments as short text, rounded.

    Curves that are straight become lines, lines along an axis H and V, and a curve that goes on
    smoothly from the one before it S or T. What only closes a subpath is left out where it says
    nothing: a line back to the start before Z, and both in a path that is `filled` and not stroked.
    Subpaths get more decimals where the corners and ends of a stroke with this `pen` need them.
    """
    out: list[str] = []
    last_letter = ""
    here = start = (0.0, 0.0)
    for subpath in _subpaths(segments):
        rounded, digits = _fitted(subpath, decimals, filled, pen)
        for index, (command, values) in enumerate(rounded):
            end = start if command == "Z" else (values[-2], values[-1])
            letter, args = command, list(values)
            if command == "M":
                start = end
            elif command == "L":
                letter, args = _line(here, end)
            elif command in _SHORTHAND:
                smooth = _reflected(rounded[index - 1 : index], command, here)
                if math.dist(values[:2], smooth) < _NOISE:
                    letter, args = _SHORTHAND[command], args[2:]
            text = join([_number(v, letter, i, digits) for i, v in enumerate(args)])
            out.append(_after(last_letter, letter, text))
            here, last_letter = end, letter
    return "".join(out)


def _fitted(
    subpath: list[Segment], decimals: int, filled: bool, pen: Pen | None
) -> tuple[list[Segment], int]:
    """The subpath on the coarsest grid that its stroke's corners allow, and the decimals of that grid."""
    finest = decimals + _MOST_EXTRA_DECIMALS if pen is not None else decimals
    coarsest = decimals + (pen is not None and pen.is_dashed)  # the dashes count the whole length
    while True:
        for digits in range(coarsest, finest + 1):
            visible = subpath if filled else _visible(subpath, digits)
            rounded = _without_closing(_round(visible, digits), filled)
            if pen is None or digits == finest or _looks_the_same(subpath, rounded, pen):
                break
        if digits in (coarsest, finest):
            return rounded, digits
        subpath, finest = rounded, digits  # once it is rounded it may do with fewer


def _looks_the_same(exact: Sequence[Segment], rounded: Sequence[Segment], pen: Pen) -> bool:
    """Whether corners and ends of the stroke are where they were, and none is new."""
    before, after = _cells(reach(exact, pen)), _cells(reach(rounded, pen))
    return _touch(before, after) and _touch(after - before, before | _cells(sides(exact, pen)))


def _cells(points: Iterable[complex]) -> set[Cell]:
    return {(math.floor(point.real / _TOLERANCE), math.floor(point.imag / _TOLERANCE)) for point in points}


def _touch(cells: Set[Cell], others: Set[Cell]) -> bool:
    """Whether each of `cells` is one of `others` or beside one."""
    return all(any((x + dx, y + dy) in others for dx in (0, -1, 1) for dy in (0, -1, 1)) for x, y in cells)


def _round(segments: Sequence[Segment], decimals: int) -> list[Segment]:
    """Segments on the grid of `decimals`, without those that are too small to draw anything."""
    result: list[Segment] = []
    here = start = exact_start = exact = (0.0, 0.0)  # rounded and exact positions
    for index, (command, values) in enumerate(segments):
        exact_end = exact_start if command == "Z" else (values[-2], values[-1])
        end = start if command == "Z" else _rounded(exact_end, decimals)
        args = values
        if command == "M":
            start, exact_start = end, exact_end
        if command == "A":
            result.extend(("A", arc) for arc in round_arc(values, exact, here, decimals))
            here, exact = end, exact_end
            continue
        if command != "Z":
            args = tuple(round(value, decimals) for value in values)
        letter = command
        if command in _SHORTHAND:
            letter, args = _settled(command, args, here, _reflected(result, command, here), 10**-decimals)
        if letter != "L" or end != here or _is_dot(segments, index):
            _append(result, letter, args)
        here, exact = end, exact_end
    return result


def _settled(command: str, args: tuple[float, ...], here: Point, smooth: Point, unit: float) -> Segment:
    """A curve whose first control point snaps to where it would be smooth; a line if it is straight."""
    if math.dist(args[:2], smooth) <= _SNAP * unit:
        args = (*smooth, *args[2:])
    end = args[-2:]
    dx, dy = end[0] - here[0], end[1] - here[1]
    chord = math.hypot(dx, dy)
    for control_x, control_y in zip(args[:-2:2], args[1:-2:2], strict=True):
        x, y = control_x - here[0], control_y - here[1]
        if not chord:
            if x or y:
                return command, args
        elif abs(x * dy - y * dx) > unit / 2 * chord or not 0 <= x * dx + y * dy <= chord * chord:
            return command, args
    return "L", (end[0], end[1])


def _append(result: list[Segment], command: str, args: tuple[float, ...]) -> None:
    """Adds a segment; a line that goes straight on takes the place of the one before it."""
    if command == "L" and len(result) > 1 and result[-1][0] == "L" and result[-2][0] != "Z":
        (x0, y0), (x1, y1), (x2, y2) = result[-2][1][-2:], result[-1][1], args
        ax, ay, bx, by = x1 - x0, y1 - y0, x2 - x1, y2 - y1
        if ax * by == ay * bx and ax * bx + ay * by > 0:
            result.pop()
    result.append((command, args))


def _without_closing(segments: Sequence[Segment], filled: bool) -> list[Segment]:
    """Without what only closes a subpath, and without subpaths that are nothing but a start."""
    result: list[Segment] = []
    for subpath in _subpaths(segments):
        is_closed = subpath[-1][0] == "Z"
        body = subpath[:-1] if is_closed else subpath
        if (is_closed or filled) and len(body) > 2 and body[-1] == ("L", body[0][1]):
            body = body[:-1]
        if len(body) > 1 or (is_closed and not filled):
            result += body if filled or not is_closed else [*body, subpath[-1]]
    return result


def _subpaths(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    starts = [index for index, segment in enumerate(segments) if segment[0] == "M"]
    for start, stop in pairwise([*starts, len(segments)]):
        yield list(segments[start:stop])


def _visible(subpath: list[Segment], decimals: int) -> list[Segment]:
    """The subpath; a dot of the grid's unit if it is smaller than that.

    Its caps and joins are what a stroke shows of it: cairo gives square caps to no line of length zero.
    """
    points, unit = [*_points(subpath)], 10**-decimals
    extent = max(max(values) - min(values) for values in zip(*points, strict=True))
    if not 0 < extent < 0.999 * unit:
        return subpath
    x, y = _rounded(points[0], decimals)
    if subpath[-1][0] != "Z":
        return [("M", (x, y)), ("L", (x + unit, y))]
    corners = ((x + unit, y), (x + unit, y + unit), (x, y + unit))
    return [("M", (x, y)), *(("L", corner) for corner in corners), ("Z", ())]


def _points(segments: Sequence[Segment]) -> Iterator[Point]:
    """Ends and control points; of an arc the corners of what is around it, as far as its radii reach."""
    here: Point = (0.0, 0.0)
    for command, values in segments:
        if command == "A":
            for sign in (-1, 1):
                yield (here[0] + sign * values[0], here[1] + sign * values[1])
        elif command != "Z":
            yield from zip(values[:-2:2], values[1:-2:2], strict=True)
        if command != "Z":
            here = (values[-2], values[-1])
            yield here


def _is_dot(segments: Sequence[Segment], index: int) -> bool:
    """Whether a line without length is all that its subpath has: with round caps it is a visible dot."""
    before = segments[index - 1][0] if index else "M"
    after = segments[index + 1][0] if index + 1 < len(segments) else "M"
    return before == "M" and after in "MZ"


def _after(last: str, letter: str, text: str) -> str:
    """A segment's text behind another's: the letter is left out where it is implied."""
    if (letter == last and letter not in "MZ") or (letter == "L" and last == "M"):
        return text if text.startswith("-") else f" {text}"
    return letter + text


def _line(here: Point, end: Point) -> tuple[str, list[float]]:
    if end[1] == here[1]:
        return "H", [end[0]]
    if end[0] == here[0]:
        return "V", [end[1]]
    return "L", list(end)


def _number(value: float, letter: str, index: int, decimals: int) -> str:
    if letter == "A" and index < 2:
        return short(value, decimals + RADIUS_DIGITS)
    if letter == "A" and index == 2:
        return short(value, ANGLE_DIGITS)
    return short(value, 0 if letter == "A" and index < 5 else decimals)


def short_length(value: float, decimals: int = 0) -> str:
    """A length: like a coordinate, but never fewer than two significant digits, so that thin stays thin."""
    if 0 < abs(value) < 10 and decimals == 0:
        decimals = 1 if abs(value) >= 1 else 2
    return short(value, decimals)


def _rounded(point: Point, decimals: int) -> Point:
    return (round(point[0], decimals), round(point[1], decimals))


def full_ellipse(segments: Sequence[Segment]) -> tuple[float, float, float, float] | None:
    """Centre and radii (cx, cy, rx, ry) if the absolute path is one whole ellipse along the axes, in arcs."""
    letters = "".join(command for command, _ in segments)
    if not _ELLIPSE.fullmatch(letters):
        return None
    arcs = [values for command, values in segments if command == "A"]
    rx, ry, angle, _, sweep = arcs[0][:5]
    if abs(rx - ry) > 1e-3 * rx and min(angle % 90, -angle % 90) > 0.1:
        return None
    x, y = segments[0][1]
    if math.dist((x, y), arcs[-1][5:]) > 1e-2 * rx:
        return None
    turned, centres = 0.0, []
    for arc in arcs:
        if abs(arc[0] - rx) + abs(arc[1] - ry) > 1e-2 * rx or arc[4] != sweep or (arc[2] - angle) % 180 > 0.1:
            return None
        cx, cy, turn, stretch = arc_centre((x, y), arc)
        centres.append((cx, cy))
        turned += turn
        x, y = arc[5:]
    if abs(turned - 2 * math.pi) > 1e-2 or any(math.dist(centres[0], c) > 1e-2 * rx for c in centres):
        return None
    cx, cy = (sum(values) / len(centres) for values in zip(*centres, strict=True))
    rx, ry = rx * stretch, ry * stretch
    return (cx, cy, ry, rx) if round(angle / 90) % 2 else (cx, cy, rx, ry)
