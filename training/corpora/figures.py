"""Simple composed things, each drawn from a few marks in a main colour.

A drawer works in a box of 100 x 100 and returns the marks and, if there is something to tell,
a phrase that fits after "with".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from training.corpora.marks import (
    Mark,
    circle,
    curve,
    ellipse,
    line,
    moved,
    poly,
    rect,
    ring_of_points,
    shape_mark,
)
from training.corpora.palette import BRIGHT
from training.corpora.sketch import Studio
from training.corpora.wording import a

Drawn = tuple[list[Mark], str]
Drawer = Callable[[Studio, str], Drawn]


@dataclass(frozen=True)
class Figure:
    """Marks about the origin, half extent 50; `noun` is the phrase, `name` the bare word."""

    name: str
    colour: str
    noun: str
    details: str
    marks: list[Mark]


def draw_figure(studio: Studio, name: str, background: str | None) -> Figure:
    """The named thing in one of its colours, but for those that would vanish on the background."""
    drawer, colours = FIGURES[name]
    visible = [colour for colour in colours if colour != (background or "white")]
    only = "gray" if colours[0] == background else colours[0]  # things that are always white have an edge
    colour = studio.rng.choice(visible or [only])
    marks, details = drawer(studio, colour)
    noun = name if len(colours) == 1 else f"{colour} {name}"
    return Figure(name, colour, noun, details, [moved(mark, 1, -50, -50) for mark in marks])


def _house(studio: Studio, main: str) -> Drawn:
    roof, door = studio.palette.pick_several(2, ("red", "brown", "blue", "gray", "green", "orange"), (main,))
    marks = [
        rect(18, 45, 64, 50, studio.fill(main)),
        poly([(8, 45), (50, 8), (92, 45)], studio.fill(roof)),
        rect(42, 65, 16, 30, studio.fill(door)),
    ]
    if studio.chance(0.4):
        marks += [
            rect(x, 54, 12, 12, studio.fill("yellow" if main != "yellow" else "white")) for x in (25, 63)
        ]
    return marks, f"{a(roof)} roof and {a(door)} door"


def _tree(studio: Studio, main: str) -> Drawn:
    trunk = rect(44, 60, 12, 38, studio.fill("brown"))
    return [trunk, circle(50, 36, 32, studio.fill(main))], "a brown trunk"


def _pine(studio: Studio, main: str) -> Drawn:
    marks = [rect(44, 78, 12, 20, studio.fill("brown"))]
    marks += [
        poly([(50, top), (50 + w, top + 34), (50 - w, top + 34)], studio.fill(main))
        for top, w in ((46, 34), (25, 27), (4, 20))
    ]
    return marks, "a brown trunk"


def _sun(studio: Studio, main: str) -> Drawn:
    count, pen = studio.rng.choice((8, 8, 12)), studio.stroke(main, 4)
    rays = zip(ring_of_points(50, 50, 31, count), ring_of_points(50, 50, 47, count), strict=True)
    return [
        circle(50, 50, 23, studio.fill(main)),
        *(line(*inner, *outer, pen) for inner, outer in rays),
    ], "rays"


def _car(studio: Studio, main: str) -> Drawn:
    glass = studio.palette.pick(("teal", "white", "gray"))
    marks = [
        poly([(24, 50), (36, 28), (66, 28), (80, 50)], studio.fill(main)),
        rect(5, 48, 90, 22, studio.fill(main), radius=5),
        poly([(32, 48), (40, 33), (62, 33), (71, 48)], studio.fill(glass)),
    ]
    return marks + [circle(x, 70, 10, studio.fill("black")) for x in (27, 73)], "black wheels"


def _bus(studio: Studio, main: str) -> Drawn:
    marks = [rect(5, 22, 90, 52, studio.fill(main), radius=6)]
    marks += [rect(x, 30, 16, 16, studio.fill("white")) for x in (12, 33, 54, 75)]
    return marks + [circle(x, 75, 9, studio.fill("black")) for x in (26, 74)], "black wheels"


def _snowman(studio: Studio, main: str) -> Drawn:
    hat = studio.palette.pick(("black", "red", "blue", "purple"))
    snow, outline = studio.fill(main), studio.stroke("gray", 2)
    marks = [
        mark
        for x, y, r in ((50, 74, 23), (50, 40, 16))
        for mark in (circle(x, y, r, snow), circle(x, y, r, outline))
    ]
    marks += [rect(38, 8, 24, 18, studio.fill(hat)), rect(31, 24, 38, 4, studio.fill(hat))]
    marks += [circle(x, 37, 2, studio.fill("black")) for x in (44, 56)]
    marks.append(poly([(50, 41), (66, 44), (50, 46)], studio.fill("orange")))
    return marks, f"{a(hat)} hat and an orange nose"


def _flower(studio: Studio, main: str) -> Drawn:
    middle = studio.palette.pick(("yellow", "orange", "white", "brown"), exclude=(main,))
    count = studio.rng.choice((5, 6))
    marks = [rect(48, 42, 4, 54, studio.fill("green")), ellipse(62, 78, 12, 5, studio.fill("green"))]
    marks += [circle(x, y, 11, studio.fill(main)) for x, y in ring_of_points(50, 30, 17, count)]
    return [*marks, circle(50, 30, 9, studio.fill(middle))], f"{a(middle)} center and a green stem"


def _traffic_light(studio: Studio, main: str) -> Drawn:
    box = rect(30, 4, 40, 92, studio.fill(main), radius=8)
    lamps = zip((21, 50, 79), ("red", "yellow", "green"), strict=True)
    return [box, *(circle(50, y, 11, studio.fill(name)) for y, name in lamps)], "red, yellow and green lights"


def _balloon(studio: Studio, main: str) -> Drawn:
    string = curve("M 50 70 C 42 80 58 88 50 98", studio.stroke("gray", 2))
    knot = poly([(50, 64), (56, 72), (44, 72)], studio.fill(main))
    return [string, ellipse(50, 36, 27, 32, studio.fill(main)), knot], "a gray string"


def _fish(studio: Studio, main: str) -> Drawn:
    tail = studio.palette.pick((main, main, "orange", "yellow", "blue"))
    marks = [
        poly([(30, 50), (4, 28), (4, 72)], studio.fill(tail)),
        ellipse(56, 50, 38, 24, studio.fill(main)),
        circle(78, 44, 4, studio.fill("white" if main != "white" else "black")),
        circle(79, 44, 2, studio.fill("black" if main != "black" else "gray")),
    ]
    return marks, "" if tail == main else f"{a(tail)} tail"


def _cup(studio: Studio, main: str) -> Drawn:
    handle = curve("M 70 38 C 96 36 96 72 68 70", studio.stroke(main, 6))
    marks = [
        handle,
        curve("M 18 30 L 72 30 L 68 76 A 12 12 0 0 1 56 86 L 34 86 A 12 12 0 0 1 22 76 Z", studio.fill(main)),
    ]
    if studio.chance(0.4):
        marks += [
            curve(f"M {x} 24 C {x - 6} 18 {x + 6} 12 {x} 5", studio.stroke("gray", 3)) for x in (36, 54)
        ]
        return marks, "steam rising"
    return marks, ""


def _rocket(studio: Studio, main: str) -> Drawn:
    fins = studio.palette.pick(("red", "blue", "orange", "purple"), exclude=(main,))
    marks = [
        poly([(36, 58), (18, 84), (36, 78)], studio.fill(fins)),
        poly([(64, 58), (82, 84), (64, 78)], studio.fill(fins)),
        curve("M 50 4 C 68 20 68 50 64 78 L 36 78 C 32 50 32 20 50 4 Z", studio.fill(main)),
        circle(50, 38, 8, studio.fill("teal" if main != "teal" else "white")),
        poly([(40, 80), (60, 80), (50, 98)], studio.fill("yellow" if main != "yellow" else "orange")),
    ]
    return marks, f"{fins} fins"


def _boat(studio: Studio, main: str) -> Drawn:
    sail = studio.palette.pick(("yellow", "orange", "red", "blue", "gray"), exclude=(main,))
    marks = [
        rect(48, 8, 4, 60, studio.fill("brown")),
        poly([(54, 10), (54, 60), (90, 60)], studio.fill(sail)),
        poly([(6, 66), (94, 66), (80, 90), (20, 90)], studio.fill(main)),
    ]
    return marks, f"{a(sail)} sail"


def _robot(studio: Studio, main: str) -> Drawn:
    eyes = studio.palette.pick(("yellow", "red", "white", "black"), exclude=(main,))
    marks = [
        line(50, 4, 50, 18, studio.stroke(main, 3)),
        rect(28, 16, 44, 32, studio.fill(main), radius=4),
        *(circle(x, 30, 5, studio.fill(eyes)) for x in (40, 60)),
        rect(22, 52, 56, 32, studio.fill(main)),
        *(rect(x, 52, 8, 26, studio.fill(main)) for x in (10, 82)),
        *(rect(x, 86, 12, 12, studio.fill(main)) for x in (30, 58)),
    ]
    return marks, f"{eyes} eyes"


def _clock(studio: Studio, main: str) -> Drawn:
    pen = studio.stroke("black" if main != "black" else "white", 4)
    hands, time = studio.rng.choice(
        (
            ([(50, 28), (50, 16)], "twelve o'clock"),
            ([(68, 50), (50, 16)], "three o'clock"),
            ([(50, 68), (50, 16)], "six o'clock"),
            ([(32, 50), (50, 16)], "nine o'clock"),
        )
    )
    marks = [circle(50, 50, 46, studio.fill(main))]
    return marks + [line(50, 50, x, y, pen) for x, y in hands], f"hands at {time}"


def _envelope(studio: Studio, main: str) -> Drawn:
    pen = studio.stroke("black" if main != "black" else "white", 3)
    return [
        rect(6, 22, 88, 58, studio.fill(main)),
        poly([(6, 22), (50, 56), (94, 22)], pen, closed=False),
    ], "a closed flap"


def _umbrella(studio: Studio, main: str) -> Drawn:
    handle = curve("M 50 50 L 50 84 A 8 8 0 0 1 34 84", studio.stroke("brown", 4))
    return [handle, curve("M 6 52 A 44 44 0 0 1 94 52 Z", studio.fill(main))], "a brown handle"


def _cloud(studio: Studio, main: str) -> Drawn:
    paint = studio.fill(main)
    marks = [
        circle(30, 56, 20, paint),
        circle(54, 42, 24, paint),
        circle(74, 58, 18, paint),
        rect(28, 56, 48, 20, paint),
    ]
    if studio.chance(0.4):
        return [
            *marks,
            *(line(x, 80, x - 5, 95, studio.stroke("blue", 4)) for x in (34, 52, 70)),
        ], "blue rain"
    return marks, ""


def _ice_cream(studio: Studio, main: str) -> Drawn:
    cone = poly([(30, 48), (70, 48), (50, 98)], studio.fill("brown"))
    return [cone, circle(50, 30, 25, studio.fill(main))], "a brown cone"


def _mushroom(studio: Studio, main: str) -> Drawn:
    dots = studio.palette.pick(("white", "yellow"), exclude=(main,))
    marks = [
        rect(38, 50, 24, 44, studio.fill("gray"), radius=6),
        curve("M 8 54 A 42 42 0 0 1 92 54 Z", studio.fill(main)),
        *(circle(x, y, 5, studio.fill(dots)) for x, y in ((30, 40), (50, 26), (70, 40))),
    ]
    return marks, f"{dots} dots"


def _gift(studio: Studio, main: str) -> Drawn:
    ribbon = studio.palette.pick(BRIGHT, exclude=(main,))
    marks = [
        rect(10, 34, 80, 58, studio.fill(main)),
        rect(44, 34, 12, 58, studio.fill(ribbon)),
        *(ellipse(x, 24, 14, 8, studio.stroke(ribbon, 5)) for x in (36, 64)),
    ]
    return marks, f"{a(ribbon)} ribbon"


def _lollipop(studio: Studio, main: str) -> Drawn:
    swirl = studio.palette.pick(("white", "yellow", "pink"), exclude=(main,))
    stick = rect(47, 50, 6, 48, studio.fill("gray"))
    return [
        stick,
        circle(50, 34, 30, studio.fill(main)),
        circle(50, 34, 15, studio.stroke(swirl, 5)),
    ], f"{a(swirl)} ring"


def _apple(studio: Studio, main: str) -> Drawn:
    marks = [
        circle(37, 58, 28, studio.fill(main)),
        circle(63, 58, 28, studio.fill(main)),
        rect(48, 12, 4, 24, studio.fill("brown")),
        ellipse(64, 20, 12, 6, studio.fill("green" if main != "green" else "brown")),
    ]
    return marks, "a leaf"


def _cactus(studio: Studio, main: str) -> Drawn:
    pot = studio.palette.pick(("brown", "orange", "red"))
    marks = [
        rect(42, 8, 16, 64, studio.fill(main), radius=8),
        curve("M 44 52 L 26 52 L 26 30", studio.stroke(main, 9)),
        curve("M 56 44 L 74 44 L 74 24", studio.stroke(main, 9)),
        poly([(28, 70), (72, 70), (64, 96), (36, 96)], studio.fill(pot)),
    ]
    return marks, f"{a(pot)} pot"


def _pencil(studio: Studio, main: str) -> Drawn:
    marks = [
        rect(40, 14, 20, 62, studio.fill(main)),
        rect(40, 4, 20, 10, studio.fill("pink" if main != "pink" else "red")),
        poly([(40, 76), (60, 76), (50, 97)], studio.fill("black" if main != "black" else "brown")),
    ]
    return marks, ""


def _butterfly(studio: Studio, main: str) -> Drawn:
    marks = [
        ellipse(x, y, rx, ry, studio.fill(main))
        for x, y, rx, ry in ((28, 34, 22, 22), (72, 34, 22, 22), (33, 70, 16, 17), (67, 70, 16, 17))
    ]
    return [
        *marks,
        ellipse(50, 52, 5, 34, studio.fill("black" if main != "black" else "gray")),
    ], "two pairs of wings"


def _cat(studio: Studio, main: str) -> Drawn:
    eyes = studio.palette.pick(("green", "yellow", "blue"), exclude=(main,))
    marks = [
        poly([(18, 44), (20, 8), (48, 28)], studio.fill(main)),
        poly([(82, 44), (80, 8), (52, 28)], studio.fill(main)),
        circle(50, 56, 36, studio.fill(main)),
        *(circle(x, 50, 6, studio.fill(eyes)) for x in (36, 64)),
        poly([(45, 64), (55, 64), (50, 70)], studio.fill("pink" if main != "pink" else "black")),
    ]
    return marks, f"{eyes} eyes"


def _lamp(studio: Studio, main: str) -> Drawn:
    marks = [
        poly([(34, 10), (66, 10), (82, 48), (18, 48)], studio.fill(main)),
        rect(47, 48, 6, 40, studio.fill("black" if main != "black" else "gray")),
        rect(30, 88, 40, 7, studio.fill("black" if main != "black" else "gray")),
    ]
    return marks, ""


def _book(studio: Studio, main: str) -> Drawn:
    pen = studio.stroke("gray", 3)
    marks = [
        poly([(50, 24), (6, 16), (6, 80), (50, 88), (94, 80), (94, 16)], studio.fill(main)),
        line(50, 24, 50, 88, pen),
    ]
    marks += [line(x, y, x + 26, y + s, pen) for y in (36, 50, 64) for x, s in ((15, 4), (59, -1))]
    return marks, "lines of text"


def _phone(studio: Studio, main: str) -> Drawn:
    screen = studio.palette.pick(("white", "gray", "teal"), exclude=(main,))
    marks = [rect(27, 4, 46, 92, studio.fill(main), radius=7), rect(32, 14, 36, 66, studio.fill(screen))]
    return [*marks, circle(50, 88, 4, studio.fill(screen))], f"{a(screen)} screen"


def _television(studio: Studio, main: str) -> Drawn:
    screen = studio.palette.pick(("teal", "white", "yellow"), exclude=(main,))
    marks = [rect(6, 26, 88, 58, studio.fill(main), radius=5), rect(14, 34, 72, 42, studio.fill(screen))]
    return [*marks, poly([(30, 6), (50, 26), (70, 6)], studio.stroke(main, 4), closed=False)], "an antenna"


def _camera(studio: Studio, main: str) -> Drawn:
    lens = studio.palette.pick(("white", "gray", "teal"), exclude=(main,))
    marks = [rect(34, 20, 32, 16, studio.fill(main)), rect(6, 30, 88, 56, studio.fill(main), radius=7)]
    return [
        *marks,
        circle(50, 58, 20, studio.fill(lens)),
        circle(50, 58, 10, studio.fill(main)),
    ], f"{a(lens)} lens"


def _key(studio: Studio, main: str) -> Drawn:
    marks = [circle(26, 50, 18, studio.stroke(main, 9)), rect(44, 46, 52, 8, studio.fill(main))]
    return marks + [rect(x, 54, 7, 12, studio.fill(main)) for x in (76, 89)], ""


def _lock(studio: Studio, main: str) -> Drawn:
    shackle = curve("M 30 48 L 30 32 A 20 20 0 0 1 70 32 L 70 48", studio.stroke("gray", 8))
    return [
        shackle,
        rect(18, 46, 64, 48, studio.fill(main), radius=6),
        circle(50, 68, 7, studio.fill("black" if main != "black" else "white")),
    ], "a keyhole"


def _magnifier(studio: Studio, main: str) -> Drawn:
    return [circle(40, 40, 28, studio.stroke(main, 8)), line(60, 60, 92, 92, studio.stroke(main, 11))], ""


def _battery(studio: Studio, main: str) -> Drawn:
    count = studio.rng.randint(1, 3)
    marks = [
        rect(6, 30, 78, 40, studio.stroke("black", 5), radius=5),
        rect(87, 42, 8, 16, studio.fill("black")),
    ]
    marks += [rect(13 + 23 * i, 37, 18, 26, studio.fill(main)) for i in range(count)]
    return marks, f"{('one bar', 'two bars', 'three bars')[count - 1]}"


def _target(studio: Studio, main: str) -> Drawn:
    rings = ((46, main), (31, "white" if main != "white" else "red"), (16, main))
    return [circle(50, 50, r, studio.fill(name)) for r, name in rings], "three rings"


def _medal(studio: Studio, main: str) -> Drawn:
    ribbon = studio.palette.pick(("red", "blue", "green"), exclude=(main,))
    marks = [
        poly([(28, 4), (72, 4), (58, 50), (42, 50)], studio.fill(ribbon)),
        circle(50, 68, 27, studio.fill(main)),
    ]
    star = studio.palette.pick(("white", "black"), exclude=(main,))
    return [*marks, shape_mark("star", 50, 68, 15, studio.palette.ink(star))], f"{a(ribbon)} ribbon"


def _person(studio: Studio, main: str) -> Drawn:
    pen = studio.stroke(main, 6)
    arms, legs = [(22, 54), (50, 42), (78, 54)], [(28, 96), (50, 66), (72, 96)]
    marks = [circle(50, 20, 14, studio.fill(main)), line(50, 34, 50, 66, pen)]
    return [*marks, poly(arms, pen, closed=False), poly(legs, pen, closed=False)], ""


_ANY = (*BRIGHT, "brown", "black", "gray")

# Name, drawer, main colours. A thing with one colour only is named without it.
FIGURES: dict[str, tuple[Drawer, tuple[str, ...]]] = {
    "house": (_house, ("red", "yellow", "blue", "white", "pink", "orange", "green", "gray")),
    "tree": (_tree, ("green", "green", "green", "orange", "red", "pink")),
    "pine tree": (_pine, ("green", "green", "teal")),
    "sun": (_sun, ("yellow", "yellow", "orange", "red")),
    "car": (_car, _ANY),
    "bus": (_bus, ("red", "yellow", "blue", "green", "orange")),
    "snowman": (_snowman, ("white",)),
    "flower": (_flower, ("red", "pink", "purple", "blue", "orange", "yellow", "teal")),
    "traffic light": (_traffic_light, ("black",)),
    "balloon": (_balloon, BRIGHT),
    "fish": (_fish, _ANY),
    "cup": (_cup, _ANY),
    "rocket": (_rocket, _ANY),
    "boat": (_boat, _ANY),
    "robot": (_robot, ("gray", "blue", "green", "orange", "teal", "red", "purple")),
    "clock": (_clock, (*BRIGHT, "gray", "black")),
    "envelope": (_envelope, BRIGHT),
    "umbrella": (_umbrella, BRIGHT),
    "cloud": (_cloud, ("gray", "teal", "pink", "purple", "blue")),
    "ice cream": (_ice_cream, BRIGHT),
    "mushroom": (_mushroom, ("red", "brown", "orange", "purple", "blue")),
    "gift": (_gift, BRIGHT),
    "lollipop": (_lollipop, BRIGHT),
    "apple": (_apple, ("red", "green", "yellow")),
    "cactus": (_cactus, ("green", "green", "teal")),
    "pencil": (_pencil, BRIGHT),
    "butterfly": (_butterfly, (*BRIGHT, "black")),
    "cat": (_cat, ("black", "gray", "orange", "brown", "yellow", "blue", "purple")),
    "lamp": (_lamp, BRIGHT),
    "book": (_book, ("red", "yellow", "green", "blue", "pink", "orange")),
    "phone": (_phone, ("black", "blue", "red", "pink", "gray")),
    "television": (_television, ("black", "brown", "red", "gray", "blue")),
    "camera": (_camera, ("black", "red", "blue", "gray", "pink", "green")),
    "key": (_key, ("yellow", "gray", "black", "brown", "orange", "blue")),
    "padlock": (_lock, ("yellow", "blue", "red", "green", "orange", "black")),
    "magnifying glass": (_magnifier, ("black", "blue", "gray", "brown", "red", "purple")),
    "battery": (_battery, ("green", "red", "yellow", "blue")),
    "target": (_target, ("red", "blue", "black", "green", "purple")),
    "medal": (_medal, ("yellow", "gray", "brown")),
    "stick figure": (_person, _ANY),
}  # fmt: skip
