"""Scenes of plain shapes: one, several with relations, counts, patterns, lines."""

from __future__ import annotations

import math
from dataclasses import dataclass

from training.corpora.marks import (
    SHAPES,
    Mark,
    Paint,
    Point,
    circle,
    curve,
    line,
    poly,
    rect,
    ring_of_points,
    shape_mark,
    stripe,
)
from training.corpora.sketch import (
    SceneObject,
    Shown,
    Sketch,
    Studio,
    on_background,
    placed,
    scene_object,
    shown,
)
from training.corpora.wording import NUMBERS, a, bare, join, plural

_CONTAINERS = ("circle", "square", "diamond", "hexagon", "pentagon")
_OUTLINABLE = tuple(shape for shape in SHAPES if shape != "ring")


@dataclass(frozen=True)
class _Piece:
    """A shape with its place and the adjectives that its noun phrase needs."""

    shape: str
    colour: str
    cx: float
    cy: float
    r: float
    size: str = ""
    outlined: bool = False

    @property
    def noun(self) -> str:
        return f"{self.size} {self._unsized}".lstrip()

    @property
    def _unsized(self) -> str:
        return f"{self.colour} {'outlined ' if self.outlined else ''}{self.shape}"

    def mark(self, studio: Studio) -> Mark:
        return shape_mark(
            self.shape, self.cx, self.cy, self.r, studio.palette.ink(self.colour), outlined=self.outlined
        )

    def truth(self) -> SceneObject:
        return scene_object(self.shape, self.colour, self.cx, self.cy, self.r)

    def shown(self) -> Shown:
        return shown(self.truth(), self._unsized)


def _sketch(
    studio: Studio,
    pieces: list[_Piece],
    descriptions: list[str],
    alts: list[str],
    background: str | None,
    *,
    detail: str = "",
) -> Sketch:
    marks = [piece.mark(studio) for piece in pieces]
    truth = tuple(piece.truth() for piece in pieces)
    listed = tuple(piece.shown() for piece in pieces)
    sketch = Sketch(marks, truth, descriptions, alts, detail=detail, shown=listed)
    return on_background(studio, sketch, background)


_SPOTS = {
    "in the top left corner": (22, 22),
    "at the top": (50, 20),
    "in the top right corner": (78, 22),
    "on the left": (20, 50),
    "on the right": (80, 50),
    "in the bottom left corner": (22, 78),
    "at the bottom": (50, 80),
    "in the bottom right corner": (78, 78),
}


def single(studio: Studio) -> Sketch:
    """One shape, in the middle or at a named place."""
    rng, background = studio.rng, studio.background()
    (colour,) = studio.colours(1, background)
    shape = rng.choice(SHAPES)
    outlined = shape in _OUTLINABLE and studio.chance(0.2)
    size = rng.choice(("", "", "small", "large"))
    if size != "large" and studio.chance(0.4):
        place, (x, y) = rng.choice(list(_SPOTS.items()))
        r = rng.uniform(6, 9) if size else rng.uniform(13, 16)
    else:
        place, (x, y) = "", (50, 50)
        r = {"small": rng.uniform(6, 10), "large": rng.uniform(40, 46), "": rng.uniform(18, 30)}[size]
    piece = _Piece(shape, colour, studio.near(x, 2), studio.near(y, 2), r, size, outlined)
    noun, where = piece.noun, place or "in the center"
    descriptions = [f"{a(noun)} {place}".strip(), f"{a(noun)} {where}", f"{a(noun)} placed {where}"]
    short = (
        where.removeprefix("in the ").removeprefix("at the ").removeprefix("on the ").removesuffix(" corner")
    )
    alts = [f"{noun}, {short}"] if place else [noun, f"{noun}, center"]
    return _sketch(studio, [piece], descriptions, alts, background)


def pair(studio: Studio) -> Sketch:
    """Two shapes side by side, one above the other, nested, or overlapping."""
    relation = studio.rng.choice((_beside, _beside, _stacked, _stacked, _inside, _overlapping))
    return relation(studio)


def _two(studio: Studio, background: str | None) -> tuple[_Piece, _Piece]:
    first, second = studio.colours(2, background)
    shapes = [studio.rng.choice(SHAPES) for _ in range(2)]
    sizes, radii = ("", ""), (studio.rng.uniform(15, 21),) * 2
    if studio.chance(0.35):
        sizes, radii = ("large", "small"), (studio.rng.uniform(23, 26), studio.rng.uniform(7, 10))
    order = (1, 0) if studio.chance(0.5) else (0, 1)
    return (
        _Piece(shapes[0], first, 50, 50, radii[order[0]], sizes[order[0]]),
        _Piece(shapes[1], second, 50, 50, radii[order[1]], sizes[order[1]]),
    )


def _at(piece: _Piece, cx: float, cy: float, r: float | None = None) -> _Piece:
    return _Piece(piece.shape, piece.colour, cx, cy, r or piece.r, piece.size, piece.outlined)


def _beside(studio: Studio) -> Sketch:
    background = studio.background()
    first, second = _two(studio, background)
    y = studio.near(50, 12)
    left, right = _at(first, studio.near(26, 2), y), _at(second, studio.near(75, 2), y)
    one, other = left.noun, right.noun
    descriptions = [
        f"{a(one)} to the left of {a(other)}",
        f"{a(other)} to the right of {a(one)}",
        f"{a(one)} next to {a(other)}",
        f"{a(one)} on the left and {a(other)} on the right",
    ]
    alts = [f"{one} left of {other}", f"{other} right of {one}"]
    return _sketch(studio, [left, right], descriptions, alts, background, detail="left of")


def _stacked(studio: Studio) -> Sketch:
    background = studio.background()
    first, second = _two(studio, background)
    x = studio.near(50, 12)
    upper, lower = _at(first, x, studio.near(26, 2)), _at(second, x, studio.near(75, 2))
    one, other = upper.noun, lower.noun
    descriptions = [
        f"{a(one)} above {a(other)}",
        f"{a(other)} below {a(one)}",
        f"{a(one)} at the top and {a(other)} at the bottom",
    ]
    alts = [f"{one} above {other}", f"{other} below {one}"]
    return _sketch(studio, [upper, lower], descriptions, alts, background, detail="above")


def _inside(studio: Studio) -> Sketch:
    background = studio.background()
    outer_colour, inner_colour = studio.colours(2, background)
    r = studio.rng.uniform(30, 44)
    outer = _Piece(studio.rng.choice(_CONTAINERS), outer_colour, 50, 50, r)
    inner = _Piece(studio.rng.choice(SHAPES), inner_colour, 50, 50, r * studio.rng.uniform(0.35, 0.5))
    one, other = inner.noun, outer.noun
    descriptions = [
        f"{a(one)} inside {a(other)}",
        f"{a(other)} with {a(one)} inside",
        f"{a(other)} around {a(one)}",
    ]
    alts = [f"{one} inside {other}", f"{other} around {one}"]
    return _sketch(studio, [outer, inner], descriptions, alts, background, detail="inside")


def _overlapping(studio: Studio) -> Sketch:
    background = studio.background()
    lower_colour, upper_colour = studio.colours(2, background)
    r, dx, dy = studio.rng.uniform(22, 28), studio.rng.choice((-1, 1)) * 13, studio.near(0, 10)
    lower = _Piece(studio.rng.choice(_CONTAINERS), lower_colour, 50 - dx, 50 - dy, r)
    upper = _Piece(studio.rng.choice(_CONTAINERS), upper_colour, 50 + dx, 50 + dy, r)
    one, other = upper.noun, lower.noun
    descriptions = [
        f"{a(one)} overlapping {a(other)}",
        f"{a(one)} in front of {a(other)}",
        f"{a(other)} behind {a(one)}",
    ]
    alts = [f"{one} overlapping {other}", f"{other} behind {one}"]
    return _sketch(studio, [lower, upper], descriptions, alts, background, detail="overlap")


def several(studio: Studio) -> Sketch:
    """Three or four different shapes in a row, a column or the corners."""
    rng, background = studio.rng, studio.background(0.08)
    count = rng.choice((3, 3, 4))
    colours = studio.colours(count, background)
    layout = (
        rng.choice(("row", "row", "column", "corners"))
        if count == 4
        else rng.choice(("row", "row", "column"))
    )
    r = rng.uniform(9, 11) if count == 4 else rng.uniform(11, 14)
    spots = {
        "row": [((i + 0.5) * 100 / count, 50.0) for i in range(count)],
        "column": [(50.0, (i + 0.5) * 100 / count) for i in range(count)],
        "corners": [(24.0, 24.0), (76.0, 24.0), (24.0, 76.0), (76.0, 76.0)],
    }[layout]
    pieces = [
        _Piece(rng.choice(SHAPES), colour, x, y, r) for colour, (x, y) in zip(colours, spots, strict=True)
    ]
    listed, short = join([a(piece.noun) for piece in pieces]), ", ".join(piece.noun for piece in pieces)
    where = {"row": "in a row", "column": "in a column", "corners": "in the four corners"}[layout]
    order = {"row": "from left to right", "column": "from top to bottom", "corners": where}[layout]
    descriptions = [f"{listed} {where}", f"{order}, {listed}", f"{NUMBERS[count]} shapes {where}: {listed}"]
    return _sketch(studio, pieces, descriptions, [f"{short} {where}"], background, detail=layout)


def counted(studio: Studio) -> Sketch:
    """Two to nine equal shapes in a simple arrangement."""
    rng, background = studio.rng, studio.background()
    (colour,) = studio.colours(1, background)
    count, layout = (
        rng.randint(2, 9),
        rng.choice(("row", "row", "column", "grid", "circle", "scattered", "diagonal")),
    )
    if layout == "grid":
        count = rng.choice((4, 6, 8, 9))
    if layout == "circle":
        count = rng.randint(5, 9)
    spots = _arranged(studio, layout, count)
    gap = min(math.dist(p, q) for i, p in enumerate(spots) for q in spots[:i])
    size = "small" if gap > 14 and studio.chance(0.35) else ""
    r = rng.uniform(3.5, 4.5) if size else min(gap * rng.uniform(0.34, 0.44), 20)
    shape = rng.choice(SHAPES)
    pieces = [_Piece(shape, colour, x, y, r, size) for x, y in spots]
    noun = plural(pieces[0].noun)
    where = {
        "row": "in a row", "column": "in a column", "grid": "in a grid", "circle": "arranged in a circle",
        "scattered": "scattered around", "diagonal": "in a diagonal line",
    }[layout]  # fmt: skip
    number = NUMBERS[count]
    descriptions = [f"{number} {noun} {where}", f"{number} {noun}", f"a group of {number} {noun} {where}"]
    if layout in ("row", "column"):
        descriptions.append(f"{a(layout)} of {number} {noun}")
    return _sketch(
        studio,
        pieces,
        descriptions,
        [f"{number} {noun} {where}", f"{number} {noun}"],
        background,
        detail=layout,
    )


def _arranged(studio: Studio, layout: str, count: int) -> list[Point]:
    rng = studio.rng
    match layout:
        case "row" | "column":
            across = studio.near(50, 15)
            along = [(i + 0.5) * 100 / count for i in range(count)]
            return [(value, across) if layout == "row" else (across, value) for value in along]
        case "grid":
            columns = {4: 2, 6: 3, 8: 4, 9: 3}[count]
            rows, step = count // columns, 100 / columns
            return [
                ((i + 0.5) * step, 50 + (j - (rows - 1) / 2) * step)
                for j in range(rows)
                for i in range(columns)
            ]
        case "circle":
            return ring_of_points(50, 50, 36, count)
        case "diagonal":
            return [((i + 0.5) * 100 / count,) * 2 for i in range(count)]
    cells = rng.sample([(x, y) for x in range(4) for y in range(4)], count)
    return [(12.5 + 25 * x + rng.uniform(-3, 3), 12.5 + 25 * y + rng.uniform(-3, 3)) for x, y in cells]


def two_groups(studio: Studio) -> Sketch:
    """A row of one shape above a row of another."""
    rng, background = studio.rng, studio.background(0.08)
    colours, r = studio.colours(2, background), rng.uniform(7, 9)
    counts = [rng.randint(1, 5) for _ in range(2)]
    rows: list[list[_Piece]] = []
    for colour, count, y in zip(colours, counts, (28, 72), strict=True):
        shape = rng.choice(SHAPES)
        rows.append([_Piece(shape, colour, (i + 0.5) * 100 / count, y, r) for i in range(count)])
    upper, lower = (_number_of(row[0].noun, len(row)) for row in rows)
    descriptions = [
        f"{upper} above {lower}",
        f"{lower} below {upper}",
        f"{upper} at the top and {lower} at the bottom",
    ]
    alts = [f"{bare(upper)} above {bare(lower)}", f"{bare(lower)} below {bare(upper)}"]
    return _sketch(studio, [*rows[0], *rows[1]], descriptions, alts, background, detail="groups")


def _number_of(noun: str, count: int) -> str:
    return a(noun) if count == 1 else f"{NUMBERS[count]} {plural(noun)}"


def pattern(studio: Studio) -> Sketch:
    """Stripes, a checkerboard, or circles in circles."""
    rng = studio.rng
    one, other = studio.palette.pick_several(2)
    kind = rng.choice(("horizontal stripes", "vertical stripes", "checkerboard", "concentric circles"))
    marks = [rect(0, 0, 100, 100, studio.fill(other))]
    if kind == "concentric circles":
        count = rng.randint(2, 4)
        names = [(one, other)[i % 2] for i in range(count)]
        marks = [circle(50, 50, 46 * (count - i) / count, studio.fill(name)) for i, name in enumerate(names)]
        texts = [
            f"{NUMBERS[count]} concentric circles in {one} and {other}",
            f"a target of {one} and {other} rings",
        ]
        alts = [f"{one} and {other} concentric circles"]
        whole = _concentric(names)
    elif kind == "checkerboard":
        count = rng.choice((3, 4, 5))
        step = 100 / count
        cells = [(x, y) for y in range(count) for x in range(count) if (x + y) % 2 == 0]
        marks += [rect(x * step, y * step, step, step, studio.fill(one)) for x, y in cells]
        texts = [a(f"{one} and {other} checkerboard"), f"a checkerboard pattern in {one} and {other}"]
        alts = [f"{one} and {other} checkerboard"]
        whole = f"{a(alts[0])} with {NUMBERS[count]} rows and {NUMBERS[count]} columns"
    else:
        count = rng.choice((3, 4, 5))
        step = 100 / (2 * count - 1)
        flat = kind.startswith("horizontal")
        marks += [stripe(2 * i * step, step, 100, studio.fill(one), flat=flat) for i in range(count)]
        texts = [
            f"{kind} in {one} and {other}",
            f"{one} and {other} {kind}",
            f"a pattern of {one} and {other} {kind}",
        ]
        alts = [f"{one} and {other} {kind}"]
        way = "horizontal" if flat else "vertical"
        whole = f"{NUMBERS[count]} {way} {one} stripes on {a(other)} background"
    truth = (scene_object(kind, one, 50, 50, 50),)
    return Sketch(marks, truth, texts, alts, other, detail=kind, whole=whole)


def _concentric(names: list[str]) -> str:
    """The circles from the outermost in, on a bare canvas, where a white outermost one cannot be seen."""
    seen = names[1:] if names[0] == "white" else names
    ground = "on a white background"
    if len(seen) == 1:
        return f"{a(seen[0])} circle in the center, {ground}"
    return f"{NUMBERS[len(seen)]} concentric circles in {join(list(dict.fromkeys(seen)))}, {ground}"


def lines(studio: Studio) -> Sketch:
    """Straight lines, a zigzag, a wave, a grid, a spiral of quarter circles."""
    rng, background = studio.rng, studio.background(0.08)
    (colour,) = studio.colours(1, background)
    width = rng.uniform(2, 7)
    paint = studio.stroke(colour, width)
    kind = rng.choice(
        ("horizontal line", "vertical line", "diagonal line", "zigzag", "wave", "grid", "x", "parallel")
    )
    thick = "thick " if width > 5.5 else "thin " if width < 2.8 else ""
    match kind:
        case "horizontal line" | "vertical line" | "diagonal line":
            ends = {
                "h": (8, 50, 92, 50),
                "v": (50, 8, 50, 92),
                "d": rng.choice(((12, 88, 88, 12), (12, 12, 88, 88))),
            }
            marks, noun = [line(*ends[kind[0]], paint)], f"{thick}{colour} {kind}"
        case "zigzag":
            count = rng.randint(4, 7)
            points = [(8 + 84 * i / count, 65 if i % 2 else 35) for i in range(count + 1)]
            marks, noun = [poly(points, paint, closed=False)], f"{colour} zigzag line"
        case "wave":
            marks, noun = (
                [curve("M 6 50 C 20 15 36 15 50 50 C 64 85 80 85 94 50", paint)],
                f"{colour} wavy line",
            )
        case "grid":
            steps = rng.choice(((25, 50, 75), (20, 40, 60, 80)))
            thin = studio.stroke(colour, 2)
            marks = [line(4, v, 96, v, thin) for v in steps] + [line(v, 4, v, 96, thin) for v in steps]
            noun = f"{colour} grid"
        case "x":
            marks, noun = [line(20, 20, 80, 80, paint), line(80, 20, 20, 80, paint)], f"{colour} x mark"
        case _:
            count = rng.randint(2, 6)
            marks = [line(12, y, 88, y, paint) for y in (100 * (i + 0.5) / count for i in range(count))]
            noun = f"{NUMBERS[count]} parallel {colour} lines"
    texts = (
        [noun, f"{noun} across the picture"]
        if kind == "parallel"
        else [a(noun), f"{a(noun)} across the picture"]
    )
    truth = (scene_object(kind, colour, 50, 50, 45),)
    listed = [Shown(noun, 0.5, 0.5, None)]
    if kind == "parallel":
        rows = [(i + 0.5) / len(marks) for i in range(len(marks))]
        listed = [Shown(f"{colour} horizontal line", 0.5, y, None) for y in rows]
    sketch = Sketch(marks, truth, texts, [noun], detail=kind, shown=tuple(listed))
    return on_background(studio, sketch, background)


_TURNS = {"right": (1, 0), "down": (0, 1), "left": (-1, 0), "up": (0, -1)}
_DIAGONALS = {"up right": (1, -1), "up left": (-1, -1), "down right": (1, 1), "down left": (-1, 1)}


def arrow(studio: Studio) -> Sketch:
    """A block arrow or a line arrow in one of eight directions."""
    rng, background = studio.rng, studio.background()
    (colour,) = studio.colours(1, background)
    way, (x, y) = rng.choice([*_TURNS.items(), *_TURNS.items(), *_DIAGONALS.items()])
    length = math.hypot(x, y)
    turn = (x / length, y / length)
    scale = rng.uniform(26, 42)
    if studio.chance(0.5):
        block = [(-1, -0.3), (0.1, -0.3), (0.1, -0.75), (1.0, 0.0), (0.1, 0.75), (0.1, 0.3), (-1, 0.3)]
        marks = [poly(_turned(block, turn), Paint(fill=studio.palette.ink(colour)))]
    else:
        paint = studio.stroke(colour, rng.uniform(0.1, 0.25))
        strokes: list[list[Point]] = [[(-1, 0), (1, 0)], [(0.35, -0.6), (1, 0), (0.35, 0.6)]]
        marks = [poly(_turned(part, turn), paint, closed=False) for part in strokes]
    noun = f"{colour} arrow pointing {way}"
    texts, alts = [a(noun), f"{a(f'{colour} arrow')} that points {way}"], [noun]
    item = scene_object("arrow", colour, 50, 50, scale)
    listed = (shown(item, details=f"pointing {way}"),)
    sketch = Sketch(placed(marks, 50, 50, scale), (item,), texts, alts, detail=way, shown=listed)
    return on_background(studio, sketch, background)


def _turned(points: list[Point], turn: Point) -> list[Point]:
    cos, sin = turn
    return [(x * cos - y * sin, x * sin + y * cos) for x, y in points]
