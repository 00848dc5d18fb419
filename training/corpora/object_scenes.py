"""Scenes of simple composed things: houses, trees, cars, rockets, alone, together or counted."""

from __future__ import annotations

from dataclasses import replace

from training.corpora.figures import FIGURES, Figure, draw_figure
from training.corpora.marks import Mark, Paint, circle, curve, ellipse, poly, rect
from training.corpora.sketch import Shown, Sketch, Studio, on_background, placed, scene_object, shown
from training.corpora.wording import NUMBERS, a, bare, plural


def thing(studio: Studio) -> Sketch:
    """One composed thing, filled, or as a line drawing in one colour."""
    background = studio.background(0.12)
    figure = _draw(studio, background)
    scale = studio.rng.uniform(0.75, 0.95)
    noun, details = figure.noun, f" with {figure.details}" if figure.details else ""
    texts, alts = (
        [f"{a(noun)}{details}", a(noun), f"a simple drawing of {a(noun)}"],
        [f"{noun}{bare(details)}"],
    )
    told = ""
    if studio.chance(0.2):
        (colour,) = studio.colours(1, background)
        marks = _as_lines(figure.marks, studio.stroke(colour, studio.rng.uniform(2, 4)))
        figure = replace(figure, colour=colour, marks=marks)
        name = figure.name
        told = f"{colour} line drawing of {a(name)}"
        texts = [a(told), f"{a(name)} drawn with {colour} lines"]
        texts, alts = [*texts, f"the outline of {a(name)} in {colour}"], [f"{name} outline in {colour}"]
    item = scene_object(figure.name, figure.colour, 50, 50, 50 * scale)
    marks, listed = placed(figure.marks, 50, 50, scale), (shown(item, told),)
    sketch = Sketch(marks, (item,), texts, alts, detail=figure.details, shown=listed)
    return on_background(studio, sketch, background)


def _draw(studio: Studio, background: str | None = None) -> Figure:
    name = studio.rng.choice(tuple(FIGURES))
    return draw_figure(studio, name, background)


def _as_lines(marks: list[Mark], pen: Paint) -> list[Mark]:
    return [replace(mark, paint=pen) for mark in marks]


def two_things(studio: Studio) -> Sketch:
    """Two things side by side or one above the other; one may be a plain star, sun or cloud."""
    first, second = _draw(studio), _draw(studio)
    while second.name == first.name:
        second = _draw(studio)
    scale = studio.rng.uniform(0.38, 0.45)
    one, other = first.noun, second.noun
    if studio.chance(0.65):
        spots = ((25.0, 50.0), (75.0, 50.0))
        texts = [f"{a(one)} next to {a(other)}", f"{a(one)} on the left and {a(other)} on the right"]
        texts += [f"{a(one)} to the left of {a(other)}", f"{a(other)} to the right of {a(one)}"]
        alts, detail = [f"{one} left of {other}", f"{other} right of {one}"], "left of"
    else:
        spots = ((50.0, 25.0), (50.0, 75.0))
        texts, detail = [f"{a(one)} above {a(other)}", f"{a(other)} below {a(one)}"], "above"
        alts = [f"{one} above {other}", f"{other} below {one}"]
    figures = tuple(zip((first, second), spots, strict=True))
    marks = [mark for figure, (x, y) in figures for mark in placed(figure.marks, x, y, scale)]
    truth = tuple(scene_object(figure.name, figure.colour, x, y, 50 * scale) for figure, (x, y) in figures)
    return on_background(studio, Sketch(marks, truth, texts, alts, detail=detail))


def counted_things(studio: Studio) -> Sketch:
    """Two to four of the same thing in a row."""
    figure, count = _draw(studio), studio.rng.randint(2, 4)
    while len(figure.marks) * count > 24:
        figure = _draw(studio)
    scale = 0.9 / count
    spots = [((i + 0.5) * 100 / count, 50.0) for i in range(count)]
    marks = [mark for x, y in spots for mark in placed(figure.marks, x, y, scale)]
    number, noun = NUMBERS[count], plural(figure.noun)
    truth = tuple(scene_object(figure.name, figure.colour, x, y, 50 * scale) for x, y in spots)
    texts = [f"{number} {noun} in a row", f"{number} {noun}", f"{number} {noun} side by side"]
    sketch = Sketch(marks, truth, texts, [f"{number} {noun} in a row"], detail=number)
    return on_background(studio, sketch)


def landscape(studio: Studio) -> Sketch:
    """Sky, ground or sea, and what stands in it."""
    return studio.rng.choice((_mountains, _seascape, _night, _meadow))(studio)


def _sun(studio: Studio) -> tuple[Mark, Shown]:
    x, r = studio.rng.choice((22, 128)), studio.rng.uniform(9, 12)
    return circle(x, 22, r, studio.fill("yellow")), shown(scene_object("sun", "yellow", x, 22, r))


def _mountains(studio: Studio) -> Sketch:
    rng, colour = studio.rng, studio.palette.pick(("gray", "brown", "green", "purple"))
    marks = [rect(0, 0, 150, 100, studio.fill("blue"))]
    count, peaks = rng.randint(2, 3), ((45.0, 30.0), (100.0, 22.0), (72.0, 48.0))
    for x, y in peaks[:count]:
        marks.append(poly([(x - 45, 100), (x, y), (x + 45, 100)], studio.fill(colour)))
    listed = [shown(scene_object("mountain", colour, x, 65, 40)) for x, _ in peaks[:count]]
    sun = studio.chance(0.6)
    if sun:
        mark, sun_shown = _sun(studio)
        marks, listed = [*marks, mark], [*listed, sun_shown]
    over = " with a yellow sun" if sun else ""
    number = NUMBERS[count]
    texts = [
        f"{number} {colour} mountains under a blue sky{over}",
        f"a mountain landscape in {colour} and blue{over}",
    ]
    truth = (scene_object("mountain", colour, 75, 60, 45),)
    return Sketch(
        marks,
        truth,
        texts,
        [f"{number} {colour} mountains, blue sky{', yellow sun' if sun else ''}"],
        "blue",
        150,
        shown=tuple(listed),
    )


def _seascape(studio: Studio) -> Sketch:
    hull, sail = (
        studio.palette.pick(("red", "brown", "black")),
        studio.palette.pick(("white", "yellow", "orange")),
    )
    sky = studio.palette.pick(("pink", "gray", "teal"))
    marks = [
        rect(0, 0, 150, 100, studio.fill(sky)),
        rect(0, 68, 150, 32, studio.fill("blue")),
        poly([(50, 60), (100, 60), (90, 74), (60, 74)], studio.fill(hull)),
        poly([(74, 18), (74, 57), (100, 57)], studio.fill(sail)),
    ]
    texts = [
        f"{a(hull)} boat with {a(sail)} sail on a blue sea",
        f"a sailing boat on the sea under {a(sky)} sky",
    ]
    boat = scene_object("boat", hull, 75, 60, 25)
    listed = (
        shown(boat, details=f"with {a(sail)} sail"),
        shown(scene_object("sea", "blue", 75, 84, 75), sized=False),
    )
    alts = [f"{hull} boat with {sail} sail on blue sea"]
    return Sketch(marks, (boat,), texts, alts, sky, 150, shown=listed)


def _night(studio: Studio) -> Sketch:
    rng, count = studio.rng, studio.rng.randint(2, 7)
    moon = studio.palette.pick(("yellow", "white"))
    spots = rng.sample([(x, y) for x in (15, 45, 75, 105) for y in (18, 44, 70)], count)
    marks = [rect(0, 0, 150, 100, studio.fill("black"))]
    marks.append(curve("M 130 12 A 16 16 0 1 0 130 42 A 13 13 0 1 1 130 12 Z", studio.fill(moon)))
    marks += [circle(studio.near(x, 5), studio.near(y, 5), 2, studio.fill("white")) for x, y in spots]
    texts = [
        f"a night sky with {a(moon)} moon and {NUMBERS[count]} stars",
        f"{a(moon)} crescent moon and white stars on black",
    ]
    item = scene_object("moon", moon, 125, 27, 16)
    stars = (shown(scene_object("star", "white", x, y, 2)) for x, y in spots)
    listed = (shown(item, f"{moon} crescent moon"), *stars)
    alts = [f"night sky, {moon} moon, {NUMBERS[count]} stars"]
    return Sketch(marks, (item,), texts, alts, "black", 150, shown=listed)


def _meadow(studio: Studio) -> Sketch:
    crown, sun = studio.palette.pick(("red", "orange", "yellow", "pink")), studio.chance(0.5)
    marks = [
        rect(0, 0, 150, 100, studio.fill("blue")),
        ellipse(75, 118, 130, 48, studio.fill("green")),
        rect(72, 46, 7, 30, studio.fill("brown")),
        circle(75.5, 36, 20, studio.fill(crown)),
    ]
    tree = scene_object("tree", crown, 75, 50, 30)
    listed = [shown(tree), shown(scene_object("hill", "green", 75, 85, 75))]
    if sun:
        mark, sun_shown = _sun(studio)
        marks, listed = [*marks, mark], [*listed, sun_shown]
    over = " and a yellow sun" if sun else ""
    texts = [
        f"{a(crown)} tree on a green hill under a blue sky{over}",
        f"a landscape with {a(crown)} tree on a green hill",
    ]
    alts = [f"{crown} tree on green hill, blue sky"]
    return Sketch(marks, (tree,), texts, alts, "blue", 150, shown=tuple(listed))
