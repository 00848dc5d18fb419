"""The literal style: each shape of a scene with its size, colour and place, and the background."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean

from training.corpora.sketch import SceneObject
from training.corpora.wording import NUMBERS, a, plural

_SMALL, _LARGE = 0.3, 0.65  # of the canvas height
_COLUMNS = ("left", "", "right")
_ROWS = ("top", "", "bottom")
_MOST_SPREAD = 0.3  # of the canvas: things farther apart share no place


def literal(objects: Sequence[SceneObject], background: str | None, width: float) -> str:
    """`two small red circles at the left, a large blue square in the centre, on a white background`.

    Args:
        objects: in drawing order; equal ones are counted together.
        background: its colour, or None for bare or white ground.
        width: of the canvas, as a share of its height.
    """
    alike: dict[tuple[str, str, str], list[SceneObject]] = {}
    for item in objects:
        alike.setdefault((_size(item), item.colour, item.shape), []).append(item)
    parts = [_things(" ".join(filter(None, words)), items, width) for words, items in alike.items()]
    return ", ".join([*parts, f"on {a(background or 'white')} background"])


def _size(item: SceneObject) -> str:
    return "small" if item.size < _SMALL else "large" if item.size >= _LARGE else ""


def _things(noun: str, items: Sequence[SceneObject], width: float) -> str:
    count = len(items)
    number = NUMBERS[count] if count < len(NUMBERS) else str(count)
    named = a(noun) if count == 1 else f"{number} {plural(noun)}"
    xs, ys = [item.x / width for item in items], [item.y for item in items]
    if max(_spread(xs), _spread(ys)) > _MOST_SPREAD:
        return named
    return f"{named} {_place(fmean(xs), fmean(ys))}"


def _spread(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[-1] - ordered[0]


def _place(x: float, y: float) -> str:
    """By thirds of the canvas."""
    words = [names[min(int(share * 3), 2)] for share, names in ((max(y, 0), _ROWS), (max(x, 0), _COLUMNS))]
    place = " ".join(filter(None, words))
    return f"at the {place}" if place else "in the centre"
