"""A drawing as few pixels: what the model, while it learns to read drawings, must be able to tell of them."""

from __future__ import annotations

from functools import cache

import numpy as np

from rendering import load
from rendering.backends import Draw, open_backend
from rendering.errors import RenderError

SIDE = 24  # pixels
_FINER = 2  # drawn so many times larger, then averaged
CHANNELS = 3


def picture(svg: str) -> bytes | None:
    """The ink of a drawing on white paper; None if it cannot be drawn.

    SIDE x SIDE pixels, row by row, each of three bytes: what is missing of red, green and blue light.
    """
    drawing = load(svg.encode())
    side = SIDE * _FINER
    scale = side / max(drawing.width, drawing.height)
    width, height = (max(1, round(length * scale)) for length in (drawing.width, drawing.height))
    try:
        pixels = np.asarray(_draw()(drawing.svg, width, height), np.float32) / 255  # (height, width, RGBA)
    except RenderError:
        return None
    colour, alpha = pixels[..., :3], pixels[..., 3:]
    ink = ((1 - colour) * alpha)[:side, :side]  # a renderer may round a side up
    paper = np.zeros((side, side, CHANNELS), np.float32)
    top, left = ((side - length) // 2 for length in ink.shape[:2])
    paper[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    coarse = paper.reshape(SIDE, _FINER, SIDE, _FINER, CHANNELS).mean(axis=(1, 3))
    return bytes((coarse * 255).astype(np.uint8).tobytes())


@cache
def _draw() -> Draw:
    return open_backend("resvg").draw
