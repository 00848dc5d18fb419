from __future__ import annotations

import random

import numpy as np
import pytest

from rendering import load
from tests.training.corpora.pixels import pixels
from training.corpora.dialects import write_svg
from training.corpora.marks import Label, Mark, Paint, circle, curve, ellipse, line, poly, rect
from training.corpora.palette import Ink

RED, BLUE, BLACK = (
    Ink("red", (220, 20, 60), "crimson"),
    Ink("blue", (20, 40, 220)),
    Ink("black", (0, 0, 0), "black"),
)

DRAWING = [
    rect(5, 5, 40, 30, Paint(fill=RED)),
    rect(55, 5, 40, 30, Paint(stroke=BLUE, width=4), radius=8),
    circle(25, 55, 14, Paint(fill=BLUE, stroke=BLACK, width=3)),
    ellipse(70, 55, 22, 10, Paint(fill=BLACK)),
    poly([(10, 95), (30, 75), (45, 95)], Paint(fill=RED)),
    line(50, 75, 60, 95, Paint(stroke=RED, width=3)),
    curve("M 65 80 C 75 65 85 95 95 80 L 95 95 Q 80 99 65 95 Z", Paint(fill=BLUE)),
]


@pytest.mark.parametrize("seed", range(40))
def test_every_dialect_draws_the_same(seed: int) -> None:
    plain = pixels(reference_svg())
    assert np.abs(pixels(write_svg(DRAWING, 100, random.Random(seed))) - plain).mean() < 6


def reference_svg() -> str:
    """The drawing written by hand."""
    return """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">
    <rect x="5" y="5" width="40" height="30" fill="#dc143c"/>
    <rect x="55" y="5" width="40" height="30" rx="8" fill="none" stroke="#1428dc" stroke-width="4"/>
    <circle cx="25" cy="55" r="14" fill="#1428dc" stroke="#000" stroke-width="3"/>
    <ellipse cx="70" cy="55" rx="22" ry="10"/>
    <path d="M10 95L30 75L45 95Z" fill="#dc143c"/>
    <path d="M50 75L60 95" stroke="#dc143c" stroke-width="3"/>
    <path d="M65 80C75 65 85 95 95 80L95 95Q80 99 65 95Z" fill="#1428dc"/></svg>"""


def test_dialects_vary() -> None:
    texts = [write_svg(DRAWING, 100, random.Random(seed)) for seed in range(200)]
    for habit in (
        "<rect", "<circle", "<ellipse", "<line", "<polygon", "style=", "<style>", "<g fill",
        "#dc143c", "#DC143C", "rgb(220, 20, 60)", "crimson", "viewBox", 'px"', "transform=",
        "<?xml", "inkscape", "<!--",
    ):  # fmt: skip
        assert any(habit in text for text in texts), habit
        assert not all(habit in text for text in texts), habit


def test_text_stays_text() -> None:
    label = Mark(Label(50, 50, "HELLO", 20), Paint(fill=RED))
    for seed in range(30):
        svg = write_svg([label], 100, random.Random(seed))
        assert ">HELLO</text>" in svg
        assert load(svg.encode()).elements >= 1


def test_an_oblong_canvas_keeps_its_shape() -> None:
    for seed in range(20):
        drawing = load(write_svg([rect(0, 0, 150, 100, Paint(fill=RED))], 150, random.Random(seed)).encode())
        assert drawing.width / drawing.height == pytest.approx(1.5)
