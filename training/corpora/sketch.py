"""What a scene kind hands over: marks, the truth about them, and the phrases that tell it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from training.corpora.marks import Mark, Paint, moved, rect
from training.corpora.palette import COLOURS, Palette
from training.corpora.wording import a


@dataclass(frozen=True)
class SceneObject:
    """One thing in the drawing; x, y and size are shares of the canvas height."""

    shape: str
    colour: str
    x: float
    y: float
    size: float


@dataclass(frozen=True)
class SceneTruth:
    """What the drawing shows. `detail` is what the kind adds: a word, a number of bars, a relation."""

    kind: str
    objects: tuple[SceneObject, ...]
    background: str | None
    detail: str = ""


@dataclass(frozen=True)
class Shown:
    """One thing as the literal style tells it; x, y and size as of a `SceneObject`."""

    noun: str  # a singular with its colour: "red outlined circle"; with "the" where it takes no other article
    x: float
    y: float
    size: float | None  # None: goes without saying
    details: str = ""  # what follows the place: "with five purple bars"


@dataclass(frozen=True)
class Sketch:
    """A scene before it is written down.

    Phrases have neither capital nor full stop; the first of each list is the plainest.
    """

    marks: list[Mark]
    objects: tuple[SceneObject, ...]
    descriptions: list[str]
    alts: list[str]
    background: str | None = None
    width: float = 100
    detail: str = ""
    shown: tuple[Shown, ...] = ()  # in the literal style, where colour and shape of the objects do not tell
    whole: str = ""  # all that the literal style says, of a drawing that is a flag or a pattern

    def listed(self) -> tuple[Shown, ...]:
        """What the literal style lists, in drawing order."""
        return self.shown or tuple(shown(item) for item in self.objects)


@dataclass
class Studio:
    """The source of chance and the inks of one scene."""

    rng: random.Random
    palette: Palette = field(init=False)

    def __post_init__(self) -> None:
        self.palette = Palette(self.rng)

    def fill(self, name: str) -> Paint:
        return Paint(fill=self.palette.ink(name))

    def stroke(self, name: str, width: float) -> Paint:
        return Paint(stroke=self.palette.ink(name), width=width)

    def background(self, probability: float = 0.2) -> str | None:
        """None stands for an unpainted or white canvas."""
        return self.palette.pick(exclude=("white",)) if self.rng.random() < probability else None

    def colours(self, count: int, background: str | None) -> list[str]:
        """Different colours that stand out from the background."""
        hidden = {None: ["white"], "black": ["black", "brown"], "brown": ["brown", "black"]}
        return self.palette.pick_several(count, COLOURS, hidden.get(background, [background or "white"]))

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def near(self, value: float, spread: float) -> float:
        return value + self.rng.uniform(-spread, spread)


def on_background(studio: Studio, sketch: Sketch, background: str | None = None) -> Sketch:
    """The sketch on a coloured ground, which its phrases then name, or on bare or white ground."""
    painted = background or ("white" if studio.chance(0.15) else None)
    if painted is None:
        return sketch
    marks = [rect(0, 0, sketch.width, 100, studio.fill(painted)), *sketch.marks]
    if background is None:
        return replace(sketch, marks=marks)
    descriptions = [f"{text} on {a(background)} background" for text in sketch.descriptions]
    alts = [f"{text}, {background} background" for text in sketch.alts]
    return replace(sketch, marks=marks, descriptions=descriptions, alts=alts, background=background)


def placed(marks: Sequence[Mark], cx: float, cy: float, scale: float) -> list[Mark]:
    """Marks drawn about the origin, brought to a place on the canvas."""
    return [moved(mark, scale, cx, cy) for mark in marks]


def scene_object(shape: str, colour: str, cx: float, cy: float, half_extent: float) -> SceneObject:
    return SceneObject(shape, colour, round(cx / 100, 3), round(cy / 100, 3), round(half_extent / 50, 3))


def shown(item: SceneObject, noun: str = "", details: str = "", *, sized: bool = True) -> Shown:
    """The object as the literal style tells it: by colour and shape, unless a noun phrase is given."""
    named = noun or f"{item.colour} {item.shape}"
    return Shown(named, item.x, item.y, item.size if sized else None, details)
