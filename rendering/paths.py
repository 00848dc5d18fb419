"""Path data (SVG 1.1, section 8.3): read, make absolute, transform, write in one short form.

A segment is (command, arguments) with one command letter and exactly its arguments.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from rendering.geometry import (
    MAX_COORDINATE,
    NUMBER,
    SEPARATORS,
    Matrix,
    Point,
    apply,
    is_similarity,
    join,
    mean_scale,
    short,
    skip_separators,
)

Segment = tuple[str, tuple[float, ...]]

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
_MAX_RADIUS_PER_CHORD = 3  # of a large arc: its centre then moves by no more than 1.5 grid units
_SNAP = 1  # grid units: a control point so near to where a smooth curve has it counts as being there

# More decimals than a coordinate has: a radius may need them where an arc is nearly a semicircle.
_ARC_DIGITS = 3
_LONG_SIDE = 4  # grid units: shorter ones are as likely part of a curve
_NOISE = 1e-6
_ANGLE_DIGITS = 2  # of an ellipse's axis: a quarter of a degree moves a long arc by whole grid units


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
        (command, _transform_arc(values, m) if command == "A" else _transform_points(values, m))
        for command, values in segments
    ]


def _transform_points(values: Sequence[float], m: Matrix) -> tuple[float, ...]:
    return tuple(v for i in range(0, len(values), 2) for v in apply(m, values[i], values[i + 1]))


def _transform_arc(values: Sequence[float], m: Matrix) -> tuple[float, ...]:
    rx, ry, angle, large, sweep, x, y = values
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


def format_path(
    segments: Sequence[Segment], decimals: int = 0, *, filled: bool = False, mitred: bool = False
) -> str:
    """Absolute segments as short text, rounded.

    Curves that are straight become lines, lines along an axis H and V, and a curve that goes on
    smoothly from the one before it S or T. What only closes a subpath is left out where it says
    nothing: a line back to the start before Z, and both in a path that is `filled` and not stroked. In one
    whose stroke has pointed corners (`mitred`), short sides that decide about a corner stay.
    """
    if not filled:
        segments = [segment for subpath in _subpaths(segments) for segment in _visible(subpath, decimals)]
    if mitred:
        segments = [segment for part in _subpaths(segments) for segment in _with_short_sides(part, decimals)]
    rounded = _without_closing(_round(segments, decimals), filled)
    out: list[str] = []
    last_letter = ""
    here = start = (0.0, 0.0)
    for index, (command, values) in enumerate(rounded):
        end = start if command == "Z" else (values[-2], values[-1])
        letter, args = command, list(values)
        if command == "M":
            start = end
        elif command == "L":
            letter, args = _line(here, end)
        elif command in _SHORTHAND:
            smooth = _reflected(rounded[index - 1 : index], command, here)
            if math.dist(values[:2], smooth) < 10**-decimals / 2:
                letter, args = _SHORTHAND[command], args[2:]
        text = join([_number(v, letter, i, decimals) for i, v in enumerate(args)])
        out.append(_after(last_letter, letter, text))
        here, last_letter = end, letter
    return "".join(out)


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
            for arc in _arc_parts(values, exact, here, decimals):
                end = _rounded((arc[5], arc[6]), decimals)
                if end != here:
                    shape = _arc_shape(arc, (exact, (arc[5], arc[6])), (here, end), decimals)
                    result.append(("A", (*shape, arc[3], arc[4], *end)))
                here, exact = end, (arc[5], arc[6])
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


def _with_short_sides(subpath: list[Segment], decimals: int) -> list[Segment]:
    """The subpath; lines between longer ones that the grid would drop are a unit long.

    A pointed corner that a short side cuts off would be pointed without it.
    """
    is_closed = subpath[-1][0] == "Z"
    result = list(subpath)
    exact = [(values[-2], values[-1]) for command, values in subpath if command != "Z"]
    ends, n = [_rounded(point, decimals) for point in exact], len(exact)
    for index in range(n) if is_closed else range(2, n - 1):  # the sides that have a join at both ends
        before, last, after = (index - 1) % n, (index - 2) % n, (index + 1) % n
        is_dropped = ends[index] == ends[before] and math.dist(exact[index], exact[before]) > _NOISE
        if result[index][0] not in "ML" or not is_dropped:
            continue
        sides = math.dist(ends[last], ends[before]), math.dist(ends[index], ends[after])
        if min(sides) >= _LONG_SIDE * 10**-decimals:
            ends[index] = _apart(ends[index], exact[before], exact[index], decimals)
            result[index] = (result[index][0], ends[index])
    return result


def _apart(corner: Point, start: Point, end: Point, decimals: int) -> Point:
    """The corner a unit further from `start` to `end`, along one axis or both."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    least, unit = max(abs(dx), abs(dy)) / 2, 10**-decimals
    x, y = (math.copysign(unit, d) if abs(d) > least else 0.0 for d in (dx, dy))
    return (corner[0] + x, corner[1] + y)


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


def _arc_shape(
    values: Sequence[float], exact: tuple[Point, Point], rounded: tuple[Point, Point], decimals: int
) -> list[float]:
    """Radii and axis for an arc between rounded ends that bulges as far as the exact arc does.

    The centre of a near-semicircle moves far when its ends move a little, so a circle's radius is
    chosen anew: the shortest number whose bulge (sagitta) is within half a grid unit of the true one.
    """
    rx, ry, angle, large = values[:4]
    # Ends half an ellipse apart must stay so; a radius a little short is stretched by the renderer.
    is_wide = exact != rounded and (large or math.dist(*exact) > ry)
    stretch = math.dist(*rounded) / (math.dist(*exact) or 1.0) if is_wide else 1.0
    radii = [max(math.floor(r * stretch * 10 + 1e-6) / 10, 0.1) for r in (rx, ry)]
    if abs(radii[0] - radii[1]) > 10**-decimals + 1e-6:
        return [*radii, round(angle, _ANGLE_DIGITS) % 180]
    if exact == rounded and rx == ry == round(rx, decimals + _ARC_DIGITS):
        return [rx, rx, 0.0]  # already canonical
    bulge = _bulge(exact[0], (*values[:5], *exact[1]))
    chord = math.dist(*rounded)
    best = (bulge * bulge + chord * chord / 4) / (2 * bulge) if bulge > 0 else rx
    for digits in range(decimals, decimals + _ARC_DIGITS + 1):
        radius = round(best, digits)
        if radius > 0 and abs(_sagitta(radius, chord, large) - bulge) <= 0.5 * 10**-decimals:
            return [radius, radius, 0.0]
    return [best, best, 0.0]


def _sagitta(radius: float, chord: float, large: float) -> float:
    radius = max(radius, chord / 2)
    depth = math.sqrt(radius * radius - chord * chord / 4)
    return radius + depth if large else radius - depth


def _line(here: Point, end: Point) -> tuple[str, list[float]]:
    if end[1] == here[1]:
        return "H", [end[0]]
    if end[0] == here[0]:
        return "V", [end[1]]
    return "L", list(end)


def _number(value: float, letter: str, index: int, decimals: int) -> str:
    if letter == "A" and index < 2:
        return short(value, decimals + _ARC_DIGITS)
    if letter == "A" and index == 2:
        return short(value, _ANGLE_DIGITS)
    return short(value, 0 if letter == "A" and index < 5 else decimals)


def short_length(value: float, decimals: int = 0) -> str:
    """A length: like a coordinate, but never fewer than two significant digits, so that thin stays thin."""
    if 0 < abs(value) < 10 and decimals == 0:
        decimals = 1 if abs(value) >= 1 else 2
    return short(value, decimals)


def _arc_parts(values: Sequence[float], exact: Point, here: Point, decimals: int) -> list[Sequence[float]]:
    """An arc in two halves if its ends are so near that rounding them would turn the ellipse about them."""
    exact_end = (values[5], values[6])
    end = _rounded(exact_end, decimals)
    if not values[3]:
        return [values]
    u, v, _ = _half_chord(here, (*values[:5], *end))
    if 2 * math.hypot(u, v) * _MAX_RADIUS_PER_CHORD >= 1:
        return [values]
    if exact == exact_end:
        return []  # an arc from a point to itself is not drawn (SVG 1.1, F.6.2)
    return [(*values[:3], 0.0, values[4], *point) for point in (_arc_middle(exact, values), exact_end)]


def _rounded(point: Point, decimals: int) -> Point:
    return (round(point[0], decimals), round(point[1], decimals))


def _arc_middle(start: Point, values: Sequence[float]) -> Point:
    """The point half-way along a large arc: from its chord through the centre to the other side."""
    rx, ry, angle, _, _, x, y = values
    cx, cy, *_ = _arc_centre(start, values)
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    dx, dy = cx - (start[0] + x) / 2, cy - (start[1] + y) / 2
    u, v = (cosine * dx + sine * dy) / rx, (-sine * dx + cosine * dy) / ry
    factor = 1 / math.hypot(u, v)
    return cx + dx * factor, cy + dy * factor


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
        cx, cy, turn, stretch = _arc_centre((x, y), arc)
        centres.append((cx, cy))
        turned += turn
        x, y = arc[5:]
    if abs(turned - 2 * math.pi) > 1e-2 or any(math.dist(centres[0], c) > 1e-2 * rx for c in centres):
        return None
    cx, cy = (sum(values) / len(centres) for values in zip(*centres, strict=True))
    rx, ry = rx * stretch, ry * stretch
    return (cx, cy, ry, rx) if round(angle / 90) % 2 else (cx, cy, rx, ry)


def _bulge(start: Point, values: Sequence[float]) -> float:
    """How far an arc stands out from its chord: of a circle, its sagitta."""
    rx, ry, _, large = values[:4]
    u, v, stretch = _half_chord(start, values)
    reach = min(math.hypot(u, v), 1.0)
    depth = math.sqrt(1 - reach * reach)
    height = math.hypot(rx * v, ry * u) / reach * stretch if reach else 0.0
    return height * (1 + depth if large else 1 - depth)


def _half_chord(start: Point, values: Sequence[float]) -> tuple[float, float, float]:
    """Half of an arc's chord where its ellipse is the unit circle, and how much short radii are stretched."""
    rx, ry, angle, _, _, x, y = values
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    dx, dy = (start[0] - x) / 2, (start[1] - y) / 2
    u, v = (cosine * dx + sine * dy) / rx, (-sine * dx + cosine * dy) / ry
    stretch = max(1.0, math.hypot(u, v))
    return u / stretch, v / stretch, stretch


def _arc_centre(start: Point, values: Sequence[float]) -> tuple[float, float, float, float]:
    """Centre, absolute angle turned, and how much short radii are stretched (SVG 1.1, F.6.5 and F.6.6)."""
    rx, ry, angle, large, sweep, x, y = values
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    u, v, stretch = _half_chord(start, values)
    reach = min(u * u + v * v, 1.0)
    if not reach:
        return (*start, 0.0, 1.0)
    factor = math.sqrt(max(1 / reach - 1, 0.0)) * (-1 if large == sweep else 1)
    cu, cv = factor * v * stretch, -factor * u * stretch
    cx = cosine * rx * cu - sine * ry * cv + (start[0] + x) / 2
    cy = sine * rx * cu + cosine * ry * cv + (start[1] + y) / 2
    half = 2 * math.asin(min(math.sqrt(reach), 1.0))
    return cx, cy, 2 * math.pi - half if large else half, stretch
