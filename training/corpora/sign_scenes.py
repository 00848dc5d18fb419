"""Scenes that are signs: words, charts, flags, faces."""

from __future__ import annotations

import math

from training.corpora.marks import (
    Curve,
    Label,
    Mark,
    Paint,
    Segment,
    circle,
    curve,
    ellipse,
    line,
    poly,
    rect,
    shape_mark,
    stripe,
)
from training.corpora.palette import BRIGHT
from training.corpora.sketch import Sketch, Studio, on_background, scene_object, shown
from training.corpora.wording import NUMBERS, ORDINALS, a, join

_WORDS = """
HELLO SALE OPEN CLOSED STOP GO YES NO NEW HOT COLD ON OFF START END PLAY PAUSE EXIT ENTER MENU HOME HELP
INFO NEWS LIVE FREE BEST TOP WIN LOVE PEACE HOPE JOY FUN DANCE MUSIC ART BOOK CAFE TEA COFFEE PIZZA CAKE
FISH CAT DOG BIRD SUN MOON STAR SKY SEA RAIN SNOW WIND FIRE TREE LEAF ROSE RED BLUE ZOO PARK CITY TOWN ROAD
BUS TAXI TRAIN BIKE CAR SHOP BANK MAIL PHONE WIFI DATA CODE BUG TEST DEMO BETA PRO MAX MINI MEGA SUPER COOL
WOW OK HI BYE SAVE LOAD EDIT SEND CALL CHAT TEAM CLUB GAME GOAL LEVEL SCORE TIME DAY NIGHT WEEK YEAR ONE TWO
TEN A B C D X Y Z 1 2 3 4 5 7 8 9 10 24 42 50 99 100 365
""".split()
_SECOND_WORDS = ("NOW", "HERE", "DAY", "TIME", "UP", "IN", "OUT", "ME", "ALL", "AGAIN")


def text(studio: Studio) -> Sketch:
    """One or two words, alone or on a plate, a button or a disc."""
    rng = studio.rng
    word = rng.choice(_WORDS)
    if studio.chance(0.2) and len(word) > 2:
        word = f"{word} {rng.choice(_SECOND_WORDS)}"
    word = rng.choice((word, word, word.title(), word.lower()))
    kind = _kind_of_text(word)
    plain = studio.chance(0.5)
    return _plain_text(studio, word, kind) if plain else _plate(studio, word, kind)


def _kind_of_text(word: str) -> str:
    if word.isdigit():
        return "number"
    return "letter" if len(word) == 1 else "words" if " " in word else "word"


def _fitting_size(word: str, width: float, most: float) -> float:
    return min(most, width / (0.68 * len(word)))


def _plain_text(studio: Studio, word: str, kind: str) -> Sketch:
    background = studio.background()
    (colour,) = studio.colours(1, background)
    bold = studio.chance(0.3)
    size = _fitting_size(word, 94, studio.rng.uniform(30, 60))
    mark = Mark(Label(50, 50, word, size, bold), studio.fill(colour))
    texts = [
        f"the {kind} {word} in {colour}",
        f"{colour} text that says {word}",
        f"the text {word} written in {colour}",
    ]
    alts = [f"{kind} {word} in {colour}"]
    item = scene_object(word, colour, 50, 50, size / 2)
    listed = (shown(item, f'the {colour} {kind} "{word}"', sized=False),)
    sketch = Sketch([mark], (item,), texts, alts, detail=word, shown=listed)
    return on_background(studio, sketch, background)


def _plate(studio: Studio, word: str, kind: str) -> Sketch:
    rng = studio.rng
    plate, colour = studio.palette.pick_several(2)
    colour = studio.palette.pick(("white", "white", "black", "yellow", colour), (plate,))
    fill = studio.fill(plate)
    shape = rng.choice(("rectangle", "button", "circle", "octagon"))
    match shape:
        case "rectangle":
            ground = rect(6, 28, 88, 44, fill)
        case "button":
            ground = rect(6, 30, 88, 40, fill, radius=rng.choice((8, 20)))
        case "circle":
            ground = circle(50, 50, 46, fill)
        case _:
            cut, rest = 16, 84
            corners = [
                (32, cut),
                (68, cut),
                (rest, 32),
                (rest, 68),
                (68, rest),
                (32, rest),
                (cut, 68),
                (cut, 32),
            ]
            ground = poly(corners, fill)
    room = 74 if shape in ("rectangle", "button") else 58
    label = Mark(Label(50, 50, word, _fitting_size(word, room, 30), studio.chance(0.5)), studio.fill(colour))
    noun = f"{plate} {shape}"
    texts = [
        f"{a(noun)} with the {kind} {word} in {colour}",
        f"the {kind} {word} in {colour} on {a(noun)}",
        f"{colour} text {word} on {a(noun)}",
    ]
    item = scene_object(shape, plate, 50, 50, 44)
    truth = (item, scene_object(word, colour, 50, 50, 15))
    listed = (shown(item, details=f'with the {colour} {kind} "{word}"'),)
    alts = [f"{noun} with {kind} {word} in {colour}"]
    return Sketch([ground, label], truth, texts, alts, detail=word, shown=listed)


def chart(studio: Studio) -> Sketch:
    kinds = (_bars, _bars, _bars, _pie, _pie, _line_chart, _line_chart, _scatter, _gauge)
    return on_background(studio, studio.rng.choice(kinds)(studio))


def _axes(studio: Studio) -> list[Mark]:
    if studio.chance(0.3):
        return []
    axis = studio.stroke(studio.palette.pick(("black", "gray")), 1.5)
    return [poly([(8, 6), (8, 92), (96, 92)], axis, closed=False)]


def _bars(studio: Studio) -> Sketch:
    rng, count = studio.rng, studio.rng.randint(3, 7)
    flat = studio.chance(0.2)
    heights = [rng.uniform(12, 78) for _ in range(count)]
    trend = rng.choice(("", "", "rising", "falling"))
    if trend:
        heights.sort(reverse=trend == "falling")
    many = studio.chance(0.25) and count <= 4
    colours = studio.palette.pick_several(count, BRIGHT) if many else [studio.palette.pick(BRIGHT)] * count
    step = 84 / count
    marks = _axes(studio)
    for i, (height, colour) in enumerate(zip(heights, colours, strict=True)):
        start, thick = 11 + i * step, step * 0.7
        fill = studio.fill(colour)
        lying = rect(10, start - 3, height, thick, fill)
        marks.append(lying if flat else rect(start, 90 - height, thick, height, fill))
    way, number = "horizontal " if flat else "", NUMBERS[count]
    paint = join(colours) if many else colours[0]
    texts = [
        f"a {way}bar chart with {number} bars in {paint}"
        if many
        else f"a {way}bar chart with {number} {paint} bars"
    ]
    alts = [texts[0].removeprefix("a ")]
    if trend and not flat:
        texts = [
            f"{texts[0]}, {trend} from left to right",
            *texts,
            f"a bar chart with {number} {trend} bars in {paint}",
        ]
        alts = [f"{alts[0]}, {trend}"]
    else:
        texts.append(f"{number} {paint} {'horizontal' if flat else 'vertical'} bars in a chart")
        tallest = heights.index(max(heights)) + 1
        if not flat:
            texts.append(f"a bar chart with {number} bars, the {ORDINALS[tallest]} one is the tallest")
    item = scene_object(f"{way}bar chart", f"{number} {paint}", 50, 50, 45)
    bars = f"{number} bars in {paint}" if many else f"{number} {paint} bars"
    goes = f" {trend} from left to right" if trend and not flat else ""
    listed = (shown(item, f"{way}bar chart", f"with {bars}{goes}"),)
    return Sketch(marks, (item,), texts, alts, detail=str(count), shown=listed)


def _pie(studio: Studio) -> Sketch:
    rng, count = studio.rng, studio.rng.randint(2, 6)
    colours = studio.palette.pick_several(count, BRIGHT)
    shares = [rng.uniform(0.6, 2) for _ in range(count)]
    hole = studio.chance(0.3)
    marks: list[Mark] = []
    angle = -math.pi / 2
    for share, colour in zip(shares, colours, strict=True):
        sweep = 2 * math.pi * share / sum(shares)
        marks.append(_slice(angle, sweep, studio.fill(colour)))
        angle += sweep
    if hole:
        marks.append(circle(50, 50, 20, studio.fill("white")))
    noun, number = ("donut chart" if hole else "pie chart"), NUMBERS[count]
    listed = join(colours)
    texts = [
        f"a {noun} with {number} slices in {listed}",
        f"a {noun} with {number} slices",
        f"a {noun} divided into {number} parts",
    ]
    if count > 4:
        texts = texts[1:]
    biggest = colours[shares.index(max(shares))]
    texts.append(f"a {noun} with {number} slices, the largest is {biggest}")
    alts = [f"{noun} with {number} slices"]
    item = scene_object(noun, f"{number} {biggest}", 50, 50, 44)
    told = (shown(item, noun, f"with {number} slices in {listed}"),)
    return Sketch(marks, (item,), texts, alts, detail=str(count), shown=told)


def _slice(start: float, sweep: float, paint: Paint) -> Mark:
    def rim(angle: float) -> tuple[float, float]:
        return 50 + 44 * math.cos(angle), 50 + 44 * math.sin(angle)

    arc = (44.0, 44.0, 0.0, float(sweep > math.pi), 1.0, *rim(start + sweep))
    segments: tuple[Segment, ...] = (("M", (50.0, 50.0)), ("L", rim(start)), ("A", arc), ("Z", ()))
    return Mark(Curve(segments), paint)


def _line_chart(studio: Studio) -> Sketch:
    rng, count = studio.rng, studio.rng.randint(4, 7)
    trend = rng.choice(("rising", "falling", "up and down"))
    heights = [rng.uniform(15, 80) for _ in range(count)]
    if trend != "up and down":
        heights = sorted(heights, reverse=trend == "rising")
    else:
        heights = [rng.uniform(15, 35) if i % 2 else rng.uniform(60, 80) for i in range(count)]
    colour = studio.palette.pick(BRIGHT)
    points = [(12 + 80 * i / (count - 1), y) for i, y in enumerate(heights)]
    marks = [*_axes(studio), poly(points, studio.stroke(colour, rng.uniform(2, 4)), closed=False)]
    dots = studio.chance(0.4)
    if dots:
        marks += [circle(x, y, 3, studio.fill(colour)) for x, y in points]
    goes = "going up and down" if trend == "up and down" else trend
    texts = [f"a line chart with {a(colour)} line {goes}", f"{a(colour)} line chart {goes}"]
    texts.append(f"a line chart in {colour}{' with a dot at every point' if dots else ''}")
    item = scene_object("line chart", colour, 50, 50, 42)
    way = f"{a(f'{colour} line')} {goes}" if trend == "up and down" else a(f"{trend} {colour} line")
    details = f"with {way}{' and a dot at every point' if dots else ''}"
    listed = (shown(item, "line chart", details),)
    return Sketch(marks, (item,), texts, [f"{colour} line chart, {goes}"], detail=trend, shown=listed)


def _scatter(studio: Studio) -> Sketch:
    rng, colour = studio.rng, studio.palette.pick(BRIGHT)
    spots = [(rng.uniform(14, 92), rng.uniform(10, 86)) for _ in range(rng.randint(8, 14))]
    axis = studio.stroke("black", 1.5)
    marks = [poly([(8, 6), (8, 92), (96, 92)], axis, closed=False)]
    marks += [circle(x, y, 2.4, studio.fill(colour)) for x, y in spots]
    texts = [f"a scatter plot with {colour} dots", f"a scatter chart of {colour} points"]
    item = scene_object("scatter plot", colour, 50, 50, 42)
    listed = (shown(item, "scatter plot", f"with {colour} dots"),)
    return Sketch(marks, (item,), texts, [f"scatter plot, {colour} dots"], shown=listed)


def _gauge(studio: Studio) -> Sketch:
    rng, colour = studio.rng, studio.palette.pick(BRIGHT)
    share = rng.choice((0.25, 0.5, 0.75))
    marks = [
        rect(5, 40, 90, 20, studio.fill("gray"), radius=10),
        rect(5, 40, 90 * share, 20, studio.fill(colour), radius=10),
    ]
    level = {0.25: "a quarter full", 0.5: "half full", 0.75: "three quarters full"}[share]
    texts = [f"{a(colour)} progress bar, {level}", f"a progress bar {level} in {colour}"]
    item = scene_object("progress bar", colour, 50, 50, 45)
    listed = (shown(item, "gray progress bar", f"with {level.removesuffix(' full')} of it in {colour}"),)
    return Sketch(marks, (item,), texts, [f"{colour} progress bar, {level}"], detail=level, shown=listed)


def flag(studio: Studio) -> Sketch:
    return studio.rng.choice((_bands, _bands, _bands, _cross_flag, _disc_flag))(studio)


def _bands(studio: Studio) -> Sketch:
    rng, count = studio.rng, studio.rng.choice((2, 3, 3, 3))
    colours = studio.palette.pick_several(count)
    flat = studio.chance(0.5)
    width = rng.choice((150, 150, 160))
    across, along = (100 / count, width) if flat else (width / count, 100)
    marks = [stripe(i * across, across, along, studio.fill(c), flat=flat) for i, c in enumerate(colours)]
    way, listed = "horizontal" if flat else "vertical", join(colours)
    number = NUMBERS[count]
    texts = [
        f"a flag with {number} {way} stripes in {listed}",
        f"a {way} {'tricolor' if count == 3 else 'bicolor'} flag of {listed}",
        f"a flag of {listed} {way} bands",
    ]
    truth = (scene_object(f"{way} flag", " ".join(colours), width / 2, 50, 50),)
    alts = [f"flag, {way} stripes in {listed}"]
    whole = f"{texts[0]} from {'top to bottom' if flat else 'left to right'}"
    return Sketch(marks, truth, texts, alts, width=width, detail=way, whole=whole)


def _cross_flag(studio: Studio) -> Sketch:
    field, cross = studio.palette.pick_several(2)
    nordic = studio.chance(0.6)
    x, thick = (52 if nordic else 75), studio.rng.uniform(14, 20)
    marks = [
        rect(0, 0, 150, 100, studio.fill(field)),
        rect(0, 50 - thick / 2, 150, thick, studio.fill(cross)),
        rect(x - thick / 2, 0, thick, 100, studio.fill(cross)),
    ]
    texts = [f"{a(field)} flag with {a(cross)} cross", f"a flag with {a(cross)} cross on {a(field)} field"]
    truth = (scene_object("cross flag", f"{field} {cross}", 75, 50, 50),)
    alts = [f"{field} flag with {cross} cross"]
    return Sketch(marks, truth, texts, alts, width=150, detail="cross", whole=texts[0])


def _disc_flag(studio: Studio) -> Sketch:
    field, emblem = studio.palette.pick_several(2)
    shape = studio.rng.choice(("circle", "circle", "star", "crescent", "diamond"))
    marks = [
        rect(0, 0, 150, 100, studio.fill(field)),
        shape_mark(shape, 75, 50, studio.rng.uniform(26, 32), studio.palette.ink(emblem)),
    ]
    noun = f"{emblem} {shape}"
    texts = [f"{a(field)} flag with {a(noun)} in the center", f"a flag with {a(noun)} on {a(field)} field"]
    truth = (scene_object(f"{shape} flag", f"{field} {emblem}", 75, 50, 50),)
    return Sketch(marks, truth, texts, [f"{field} flag with {noun}"], width=150, detail=shape, whole=texts[0])


_MOODS = {
    "smiling": ("smiling", "happy"),
    "sad": ("sad", "frowning"),
    "surprised": ("surprised", "astonished"),
    "neutral": ("neutral", "expressionless"),
    "winking": ("winking", "playful winking"),
    "laughing": ("laughing", "grinning"),
}


def face(studio: Studio) -> Sketch:
    """A round face in one of six moods, filled or as a line drawing."""
    rng, mood = studio.rng, studio.rng.choice(tuple(_MOODS))
    outlined = studio.chance(0.3)
    colour = studio.palette.pick(
        ("yellow", "yellow", *BRIGHT, "black") if outlined else ("yellow", "yellow", *BRIGHT)
    )
    detail = colour if outlined else "black"
    width = rng.uniform(3, 5)
    pen, dark = studio.stroke(detail, width), studio.fill(detail)
    head = circle(50, 50, 44, studio.stroke(colour, width) if outlined else studio.fill(colour))
    apart, eye = rng.uniform(14, 18), rng.uniform(4, 6)
    eyes = [circle(50 - apart, 40, eye, dark), circle(50 + apart, 40, eye, dark)]
    if mood == "winking":
        eyes[1] = line(50 + apart - 7, 40, 50 + apart + 7, 40, pen)
    mouth = {
        "smiling": curve("M 28 60 Q 50 84 72 60", pen),
        "winking": curve("M 28 60 Q 50 84 72 60", pen),
        "sad": curve("M 30 74 Q 50 54 70 74", pen),
        "surprised": ellipse(50, 69, 8, 10, dark),
        "neutral": line(32, 67, 68, 67, pen),
        "laughing": curve("M 26 56 L 74 56 A 24 24 0 0 1 26 56 Z", dark),
    }[mood]
    plain, other = _MOODS[mood]
    style = "outlined " if outlined else ""
    texts = [
        f"{a(f'{plain} {colour} {style}face')}",
        f"{a(f'{colour} {style}face')} that looks {other}",
        f"{a(f'{colour} {style}emoji')} with {a(f'{plain} face')}",
    ]
    item = scene_object(f"{mood} face", colour, 50, 50, 44)
    marks, alts = [head, *eyes, mouth], [f"{plain} {colour} {style}face"]
    sketch = Sketch(marks, (item,), texts, alts, detail=mood, shown=(shown(item, alts[0]),))
    return on_background(studio, sketch)
