"""Groups of samples by the size and colours of their drawings and by who described them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from xml.etree import ElementTree

import numpy as np

from captioning.corpus import Sample
from captioning.pipeline import as_bytes
from evaluation.captioners.nearest import svg_tokens
from evaluation.metrics.statistics import Bools
from rendering import SvgRejected, canonicalize, load

_DRAWN = frozenset("path rect circle ellipse line polyline polygon text image".split())
_REFUSED = "refused"

Strata = dict[str, dict[str, Bools]]
"""By what is told apart: which samples are in which group."""


def strata(samples: Sequence[Sample]) -> Strata:
    """All that part the split; what puts every sample into one group is left out."""
    texts = [_canonical(sample.svg) for sample in samples]
    found = {name: [label(text) for text in texts] for name, label in _LABELS.items()}
    found["caption author"] = [sample.caption_author or "unknown" for sample in samples]
    parted = {name: np.array(labels) for name, labels in found.items() if len(set(labels)) > 1}
    return {
        name: {group: labels == group for group in sorted(set(labels.tolist()), key=_in_order)}
        for name, labels in parted.items()
    }


def _canonical(svg: str) -> str | None:
    try:
        return canonicalize(load(as_bytes(svg)))
    except SvgRejected:
        return None


def _binned(count: Callable[[str], int], *limits: int) -> Callable[[str | None], str]:
    """`0 to 3`, `4 to 10`, `11 or more` for the limits 4 and 11."""

    def label(text: str | None) -> str:
        if text is None:
            return _REFUSED
        number, first = count(text), 0
        for limit in limits:
            if number < limit:
                return f"{first} to {limit - 1}"
            first = limit
        return f"{first} or more"

    return label


@cache
def _elements(text: str) -> tuple[str, ...]:
    return tuple(element.tag for element in ElementTree.fromstring(text).iter())  # noqa: S314  # our own text


def _path_commands(text: str) -> int:
    root = ElementTree.fromstring(text)  # noqa: S314  # our own text
    return sum(char.isalpha() for path in root.iter("path") for char in path.get("d", ""))


def _colours(text: str) -> int:
    root = ElementTree.fromstring(text)  # noqa: S314  # our own text
    names = ("fill", "stroke", "stop-color")
    found = {element.get(name) for element in root.iter() for name in names} - {None, "none"}
    return len({colour for colour in found if colour and not colour.startswith("url")}) or 1


_LABELS: dict[str, Callable[[str | None], str]] = {
    "elements": _binned(lambda text: sum(tag in _DRAWN for tag in _elements(text)), 4, 11),
    "path commands": _binned(_path_commands, 1, 26, 101),
    "tokens": _binned(lambda text: len(svg_tokens(text)), 51, 201),
    "colours": _binned(_colours, 2, 4),
    "has text": lambda text: _REFUSED if text is None else "yes" if "text" in _elements(text) else "no",
}


def _in_order(label: str) -> tuple[int, str]:
    first = label.partition(" ")[0]
    return (int(first) if first.isdecimal() else 0, label)
