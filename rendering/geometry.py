"""Affine matrices, numbers and lengths as SVG writes them.

A matrix is (a, b, c, d, e, f): x' = a x + c y + e, y' = b x + d y + f (SVG 1.1, section 7.4).
Every reader here is linear in the length of its input and never raises on bad text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

Matrix = tuple[float, float, float, float, float, float]
Point = tuple[float, float]

IDENTITY: Matrix = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
# No coordinate of a drawing is larger; beyond it cairo's fixed-point arithmetic loops or wraps.
MAX_COORDINATE = 1e7

SEPARATORS = " \t\r\n\f,"
_UNITS = {
    "": 1.0,
    "px": 1.0,
    "pt": 4 / 3,
    "pc": 16.0,
    "in": 96.0,
    "cm": 96 / 2.54,
    "mm": 96 / 25.4,
    "q": 96 / 101.6,
}
_MAX_LENGTH_CHARS = 40


def multiply(m: Matrix, n: Matrix) -> Matrix:
    """The matrix that applies `n` first and `m` after it."""
    a, b, c, d, e, f = m
    g, h, i, j, k, w = n
    return (a * g + c * h, b * g + d * h, a * i + c * j, b * i + d * j, a * k + c * w + e, b * k + d * w + f)


def apply(m: Matrix, x: float, y: float) -> Point:
    return (m[0] * x + m[2] * y + m[4], m[1] * x + m[3] * y + m[5])


def mean_scale(m: Matrix) -> float:
    """How much lengths grow on average: the square root of the area factor."""
    return math.sqrt(abs(m[0] * m[3] - m[1] * m[2]))


def is_axis_aligned(m: Matrix) -> bool:
    """Only translation and positive scales: boxes stay boxes and nothing is mirrored."""
    size = max(abs(m[0]), abs(m[3]))
    return m[0] > 0 and m[3] > 0 and abs(m[1]) < 1e-6 * size and abs(m[2]) < 1e-6 * size


def is_similarity(m: Matrix) -> bool:
    """Rotation, mirroring, uniform scale and translation: circles stay circles."""
    size = max(abs(value) for value in m[:4])
    same_sign = abs(m[0] - m[3]) < 1e-4 * size and abs(m[1] + m[2]) < 1e-4 * size
    mirrored = abs(m[0] + m[3]) < 1e-4 * size and abs(m[1] - m[2]) < 1e-4 * size
    return same_sign or mirrored


def numbers(text: str, limit: int = 10_000) -> list[float]:
    """The numbers of a list, up to the first thing that is none (points, viewBox, dash lists)."""
    found: list[float] = []
    position = 0
    while len(found) < limit:
        position = skip_separators(text, position)
        match = NUMBER.match(text, position)
        if match is None:
            break
        value = float(match.group())
        if abs(value) > MAX_COORDINATE:
            break
        found.append(value)
        position = match.end()
    return found


def skip_separators(text: str, position: int) -> int:
    while position < len(text) and text[position] in SEPARATORS:
        position += 1
    return position


def length(text: str | None, percent_of: float | None = None) -> float | None:
    """A length in user units, or None where the text is no length that can be resolved.

    A percentage is resolved against `percent_of`; `em`, `ex` and viewport units are not resolved.
    """
    if text is None or len(text) > _MAX_LENGTH_CHARS:
        return None
    text = text.strip()
    match = NUMBER.match(text)
    if match is None:
        return None
    value, unit = float(match.group()), text[match.end() :].strip().lower()
    if unit == "%":
        return None if percent_of is None else value / 100 * percent_of
    if unit not in _UNITS or abs(value) > MAX_COORDINATE:
        return None
    return value * _UNITS[unit]


def parse_transform(text: str) -> Matrix | None:
    """The matrix of a `transform` attribute, or None where it is invalid."""
    matrix = IDENTITY
    position = skip_separators(text, 0)
    while position < len(text):
        opening = text.find("(", position, position + 20)
        closing = text.find(")", opening + 1, opening + 400) if opening > 0 else -1
        if closing < 0:
            return None
        step = _transform_step(text[position:opening].strip(), numbers(text[opening + 1 : closing]))
        if step is None:
            return None
        matrix = multiply(matrix, step)
        position = skip_separators(text, closing + 1)
    return matrix if all(math.isfinite(value) and abs(value) <= MAX_COORDINATE for value in matrix) else None


_ORIGIN_KEYWORDS = {"left": 0.0, "top": 0.0, "center": 0.5, "right": 1.0, "bottom": 1.0}


def transform_origin(text: str, box: tuple[float, float, float, float]) -> Point | None:
    """The point that CSS `transform-origin` names, or None; `box` is the drawing's viewBox (x, y, w, h)."""
    words = text.split()[:2]
    if not words:
        return None
    if words[0] in ("top", "bottom") or (len(words) > 1 and words[1] in ("left", "right")):
        words = [*words[1:], words[0]] if len(words) > 1 else ["center", words[0]]
    point = []
    for word, start, size in zip([*words, "center"][:2], box[:2], box[2:], strict=True):
        if word in _ORIGIN_KEYWORDS:
            point.append(start + _ORIGIN_KEYWORDS[word] * size)
        else:
            value = length(word, size)
            if value is None:
                return None
            point.append(start + value if word.endswith("%") else value)
    return (point[0], point[1])


def _transform_step(name: str, values: Sequence[float]) -> Matrix | None:
    match name, list(values):
        case "matrix", [a, b, c, d, e, f]:
            return (a, b, c, d, e, f)
        case "translate", [x]:
            return (1, 0, 0, 1, x, 0)
        case "translate", [x, y]:
            return (1, 0, 0, 1, x, y)
        case "scale", [s]:
            return (s, 0, 0, s, 0, 0)
        case "scale", [x, y]:
            return (x, 0, 0, y, 0, 0)
        case "rotate", [angle]:
            return _rotation(angle)
        case "rotate", [angle, x, y]:
            return multiply(multiply((1, 0, 0, 1, x, y), _rotation(angle)), (1, 0, 0, 1, -x, -y))
        case "skewX", [angle]:
            return (1, 0, math.tan(math.radians(angle)), 1, 0, 0)
        case "skewY", [angle]:
            return (1, math.tan(math.radians(angle)), 0, 1, 0, 0)
    return None


def _rotation(angle: float) -> Matrix:
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return (cosine, sine, -sine, cosine, 0, 0)


def short(value: float, decimals: int = 0) -> str:
    """A number in its shortest decimal form: `0.50` is `.5`, `-0` is `0`."""
    text = f"{value:.{decimals}f}"
    if not decimals:
        return "0" if text == "-0" else text
    text = text.rstrip("0").rstrip(".")
    if text in ("-0", "", "-"):
        return "0"
    if text.startswith("0."):
        return text[1:]
    if text.startswith("-0."):
        return "-" + text[2:]
    return text


def join(parts: Sequence[str]) -> str:
    """Numbers beside one another with as few separators as SVG allows."""
    text = ""
    for part in parts:
        text += part if not text or part[0] == "-" else " " + part
    return text
