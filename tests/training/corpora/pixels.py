"""Small pictures of drawings that this project wrote itself, as arrays."""

from __future__ import annotations

import io

import cairosvg
import numpy as np
from numpy.typing import NDArray
from PIL import Image


def pixels(svg: str, size_px: int = 64) -> NDArray[np.float64]:
    """(height, width, 3), composited on white, 0 to 255."""
    png = cairosvg.svg2png(svg.encode(), output_width=size_px, background_color="white")
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"), dtype=np.float64)
