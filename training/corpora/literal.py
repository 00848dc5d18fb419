"""The literal style: each shape of a scene with its size, colour and place, and the background."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean

from training.corpora.sketch import Shown
from training.corpora.wording import NUMBERS, a, plural

_SMALL, _LARGE = 0.3, 0.65  # of the canvas height
_COLUMNS = ("left", "", "right")
_ROWS = ("top", "", "bottom")
_MOST_SPREAD = 0.3  # of the canvas: things farther apart share no place


def literal(things: Sequence[Shown], background: str | None, width: float) -> str:
    """`two small red circles on the left, a large blue square in the center, on a white background`.

    Args:
        things: in drawing order; equal ones are counted together.
        background: its colour, or None for bare or white ground.
        width: of the canvas, as a share of its height.
    """
    alike: dict[tuple[str, str], list[Shown]] = {}
    for item in things:
        alike.setdefault((_sized(item), item.details), []).append(item)
    parts = [
        " ".join(filter(None, (_counted(noun, len(items)), _place(items, width), details)))
        for (noun, details), items in alike.items()
    ]
    return ", ".join([*parts, f"on {a(background or 'white')} background"])


def _sized(item: Shown) -> str:
    if item.size is None or _SMALL <= item.size < _LARGE:
        return item.noun
    return f"{'small' if item.size < _SMALL else 'large'} {item.noun}"


def _counted(noun: str, count: int) -> str:
    if count == 1:
        return noun if noun.startswith("the ") else a(noun)
    return f"{NUMBERS[count] if count < len(NUMBERS) else count} {plural(noun)}"


def _place(items: Sequence[Shown], width: float) -> str:
    """By thirds of the canvas; none for things that are far apart."""
    xs, ys = [item.x / width for item in items], [item.y for item in items]
    if max(_spread(xs), _spread(ys)) > _MOST_SPREAD:
        return ""
    row, column = (names[min(int(max(fmean(at), 0) * 3), 2)] for at, names in ((ys, _ROWS), (xs, _COLUMNS)))
    if not row:
        return f"on the {column}" if column else "in the center"
    return f"at the {row} {column}".rstrip()


def _spread(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[-1] - ordered[0]
