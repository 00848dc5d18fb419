from __future__ import annotations

import math
import re

import pytest
from PIL import ImageColor

from rendering import load
from training.curve import COLOURS, INK, Curve, Point, curve_svg, thinned

FALLING = [(float(step), 0.5 + 6 * math.exp(-step / 60)) for step in range(0, 901, 50)]


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_it_is_a_drawing_that_our_own_border_lets_through_untouched() -> None:
    svg = curve_svg([Curve("training", FALLING), Curve("validation", FALLING, 1, True)], "Loss of a run")
    drawing = load(svg.encode())
    assert not drawing.removed
    assert not drawing.warnings
    assert {"Loss of a run", "training", "validation", "optimizer step"} <= set(texts(svg))


@pytest.mark.parametrize("paper", ["#ffffff", "#0d1117"])
def test_every_colour_is_readable_on_light_and_dark_pages(paper: str) -> None:
    for colour in (*COLOURS, INK):
        high, low = sorted((luminance(colour), luminance(paper)), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4  # the contrast ratio of WCAG 2


def luminance(colour: str) -> float:
    shares = [channel / 255 for channel in ImageColor.getrgb(colour)[:3]]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_points_lie_where_their_axes_say() -> None:
    points: list[Point] = [(0, 2.0), (100, 1.0)]
    svg = curve_svg([Curve("validation", points, is_marked=True)])
    (first, last) = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', svg)
    ticks = dict(re.findall(r'<text x="52" y="([\d.]+)"[^>]*>([\d.]+)</text>', svg))
    assert (ticks[first[1]], ticks[last[1]]) == ("2", "1")
    steps = dict(re.findall(r'<text x="([\d.]+)" y="[\d.]+" text-anchor="middle">(\d+)</text>', svg))
    assert (steps[first[0]], steps[last[0]]) == ("0", "100")


def test_a_wide_range_is_logarithmic_and_says_so() -> None:
    assert "nats per token, logarithmic" in texts(curve_svg([Curve("validation", FALLING)]))
    assert "nats per token" in texts(curve_svg([Curve("validation", [(0, 2.0), (9, 1.5)])]))


@pytest.mark.parametrize(
    "points", [[], [(0, 2.0)], [(0, 2.0), (1, 2.0)], [(0, 1.0), (1, math.nan), (2, math.inf)]]
)
def test_odd_curves_are_drawn_as_well_as_they_can_be(points: list[Point]) -> None:
    svg = curve_svg([Curve("validation", points, is_marked=True)])
    load(svg.encode())
    assert "nan" not in svg
    assert "inf" not in svg
    assert svg.count("<circle") == sum(math.isfinite(loss) for _, loss in points)


def test_labels_are_text_not_markup() -> None:
    svg = curve_svg([Curve("<b>&", [])], "<script>")
    assert "&lt;b&gt;&amp;" in svg
    assert "<script" not in svg


def test_more_runs_than_colours_are_told_apart() -> None:
    curves = [Curve(f"run {number}", [(0, 1.0)], number, True) for number in range(len(COLOURS) + 1)]
    strokes = re.findall(r'<path d="M60 \d+h24" (.*?)/>', curve_svg(curves))
    assert len(set(strokes)) == len(curves)


def test_thinning_keeps_means() -> None:
    points = [(float(step), float(step % 2)) for step in range(1000)]
    few = thinned(points, 250)
    assert len(few) == 250
    assert few[0] == (1.5, 0.5)
    assert thinned(points[:9]) == points[:9]
