"""Loss curves as one small SVG, for model cards and comparisons. It knows points, not runs.

The ground is left out and every colour has a contrast of at least 4 to white as to a dark page
(#0d1117): which of them a reader has, a picture inside a page cannot tell.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

Point = tuple[float, float]  # optimizer step, loss in nats per token

COLOURS = ("#1d74ed", "#c75605", "#188a3e", "#b843d0", "#088590", "#e12f5b")
INK = "#787878"

_WIDTH, _PLOT_HEIGHT = 720, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 16, 34, 46
_LINE_HEIGHT = 18
_MOST_POINTS = 300
_LOG_RATIO = 8  # a range over this one is drawn on a logarithmic scale


@dataclass(frozen=True)
class Curve:
    """Training losses are a thin line; marked ones, validation losses, a thick line with dots."""

    label: str
    points: Sequence[Point]
    colour: int = 0  # place in COLOURS; a run's curves share one
    is_marked: bool = False


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    start: float  # pixels of `low`
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = (math.log(x) if self.is_log else x for x in (self.low, self.high, value))
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        if self.is_log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            marks = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
        else:
            step = _round_step((self.high - self.low) / 5)
            marks = [step * n for n in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
        return [mark for mark in marks if self.low <= mark <= self.high]


def curve_svg(curves: Sequence[Curve], title: str = "Loss") -> str:
    """A standalone drawing with axes and a legend. Losses that are not finite are left out."""
    drawn = [_drawable(curve) for curve in curves]
    points = [point for curve in drawn for point in curve.points] or [(0.0, 1.0)]
    top = _TOP + _LINE_HEIGHT * len(drawn)
    height = top + _PLOT_HEIGHT + _BOTTOM
    x = _Axis(0, max(5, *(step for step, _ in points)), _LEFT, _WIDTH - _RIGHT)  # whole steps only
    y = _loss_axis([loss for _, loss in points], top)
    parts = [
        *_frame(x, y),
        *(part for curve in drawn for part in _line(curve, x, y)),
        *(part for row, curve in enumerate(drawn) for part in _legend(curve, _TOP + _LINE_HEIGHT * row)),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'font-family="sans-serif" font-size="13" fill="{INK}">\n<title>{escape(title)}</title>\n'
        f'<text x="{_LEFT}" y="18" font-size="15">{escape(title)}</text>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def thinned(points: Sequence[Point], most: int = _MOST_POINTS) -> list[Point]:
    """At most so many points, each the mean of equally many neighbours (the last of what is left)."""
    size = math.ceil(len(points) / most) or 1
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(_mean([step for step, _ in group]), _mean([loss for _, loss in group])) for group in groups]


def _drawable(curve: Curve) -> Curve:
    finite = [(step, loss) for step, loss in curve.points if math.isfinite(loss)]
    return Curve(curve.label, finite if curve.is_marked else thinned(finite), curve.colour, curve.is_marked)


def _loss_axis(losses: Sequence[float], top: float) -> _Axis:
    low, high = min(losses), max(losses)
    if low > 0 and high / low > _LOG_RATIO:
        return _Axis(low / 1.05, high * 1.05, top + _PLOT_HEIGHT, top, is_log=True)
    margin = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    return _Axis(low - margin, high + margin, top + _PLOT_HEIGHT, top)


def _frame(x: _Axis, y: _Axis) -> Iterator[str]:
    """Grid, numbers and names of both axes."""
    for mark in y.ticks():
        at = f"{y(mark):.1f}"
        yield f'<path d="M{_LEFT} {at}H{x.end}" stroke="{INK}" stroke-opacity=".3"/>'
        yield f'<text x="{_LEFT - 8}" y="{at}" dy=".35em" text-anchor="end">{mark:.4g}</text>'
    for mark in x.ticks():
        yield f'<text x="{x(mark):.1f}" y="{y.start + 18}" text-anchor="middle">{mark:,.0f}</text>'
    yield f'<path d="M{_LEFT} {y.end}V{y.start}H{x.end}" stroke="{INK}" fill="none"/>'
    yield f'<text x="{(x.start + x.end) / 2:g}" y="{y.start + 38}" text-anchor="middle">optimizer step</text>'
    middle = (y.start + y.end) / 2
    scale = ", logarithmic" if y.is_log else ""
    yield (
        f'<text transform="translate(14 {middle:g})rotate(-90)" text-anchor="middle">'
        f"nats per token{scale}</text>"
    )


def _line(curve: Curve, x: _Axis, y: _Axis) -> Iterator[str]:
    at = [(f"{x(step):.1f}", f"{y(loss):.1f}") for step, loss in curve.points]
    if at:
        yield f'<path d="M{"L".join(f"{left} {top}" for left, top in at)}" fill="none" {_stroke(curve)}/>'
    if curve.is_marked:
        colour = COLOURS[curve.colour % len(COLOURS)]
        yield from (f'<circle cx="{left}" cy="{top}" r="3" fill="{colour}"/>' for left, top in at)


def _legend(curve: Curve, top: int) -> Iterator[str]:
    yield f'<path d="M{_LEFT} {top}h24" {_stroke(curve)}/>'
    yield f'<text x="{_LEFT + 32}" y="{top}" dy=".35em">{escape(curve.label)}</text>'


def _stroke(curve: Curve) -> str:
    """Dashes tell curves apart where there are more runs than colours."""
    turn, place = divmod(curve.colour, len(COLOURS))
    dashes = f' stroke-dasharray="{6 * turn} 4"' if turn else ""
    width = "2.5" if curve.is_marked else '1" stroke-opacity=".75'
    return f'stroke="{COLOURS[place]}" stroke-width="{width}"{dashes}'


def _round_step(size: float) -> float:
    """The next step of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(size))
    return next(digit * power for digit in (1, 2, 5, 10) if digit * power >= size)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
