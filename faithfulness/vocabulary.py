"""The words that claims are made of."""

from __future__ import annotations

from collections.abc import Mapping

COLOURS: Mapping[str, str] = {
    **{
        colour: colour
        for colour in (
            *("red", "orange", "yellow", "green", "teal", "blue"),
            *("purple", "pink", "brown", "black", "gray", "white"),
        )
    },
    "grey": "gray",
    "violet": "purple",
    "turquoise": "teal",
    "cyan": "teal",
    "crimson": "red",
    "scarlet": "red",
    "golden": "yellow",
    "navy": "blue",
    "magenta": "pink",
}
SHAPES: Mapping[tuple[str, ...], str] = {
    **{
        (shape,): shape
        for shape in (
            *("circle", "square", "triangle", "rectangle", "oval", "star", "heart", "diamond"),
            *("pentagon", "hexagon", "octagon", "cross", "crescent", "semicircle", "ring"),
        )
    },
    ("ellipse",): "oval",
    ("rhombus",): "diamond",
    ("half", "circle"): "semicircle",
    ("semi", "circle"): "semicircle",
}
NUMBERS: Mapping[str, int] = {
    word: number
    for number, word in enumerate(
        "one two three four five six seven eight nine ten eleven twelve".split(), start=1
    )
} | {"a": 1, "an": 1, "single": 1}


def number(token: str) -> int | None:
    """The value of a number word, of digits up to 999, or of an article."""
    return int(token) if token.isdecimal() and len(token) < 4 else NUMBERS.get(token)
