"""Drawings of a grid of shapes, no two alike, and one drawing written in two ways."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from captioning.corpus import Sample, write_corpus

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24">{0}</svg>'

HOUSE = SVG.format(
    '<path fill="none" stroke="#000" stroke-width="2" d="M3 11 12 3 21 11V21H3ZM9 21V14H15V21"/>'
)
HOUSE_AGAIN = SVG.format(
    '<title>h</title><g style="fill:none;stroke:black" stroke-width="2"><g>'
    '<path d="m 3,11 l 9,-8 l 9,8 l 0,10 l -18,0 z M 9,21 L 9,14 L 15,14 L 15,21"/></g></g>'
)
HOUSE_MOVED = HOUSE.replace("0 0 24 24", "-0.1 0.1 24 24")


def different(seed: int) -> str:
    """Four shapes at random places."""
    rng = random.Random(seed)
    marks = []
    for _ in range(4):
        x, y, size = rng.uniform(1, 15), rng.uniform(1, 15), rng.uniform(3, 8)
        colour = rng.choice(["red", "green", "blue", "black"])
        marks.append(
            f'<rect x="{x:.2f}" y="{y:.2f}" width="{size:.2f}" height="{size:.2f}" fill="{colour}"/>'
        )
    return SVG.format("".join(marks))


def sample(name: str, svg: str, *references: str, **fields: Any) -> Sample:
    return Sample(id=name, svg=svg, references=references or (f"caption of {name}",), **fields)


def corpus(path: Path, *samples: Sample) -> Path:
    write_corpus(path, samples)
    return path
