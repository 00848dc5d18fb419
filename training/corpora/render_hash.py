"""A perceptual hash of a drawing's picture that tells line icons apart, and colours.

The hash is the picture itself in 16 x 16 cells of mean colour (an average hash whose cells keep their
values). Two pictures are near each other when no cell, and no block of 4 x 4 cells, differs by more than
a small shift or another antialiasing makes it differ. Hashes of one bit for a cell or a frequency are made
for photographs: icons are lines on white and mostly symmetric, so few of those bits say anything; the signs
of a cosine transform take a circle around a minus for one around three dots.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

RENDER_SIZE_PX = 64
NEAR_CELL = 44  # in any channel of any cell, of a picture whose contrast is 255; less of a paler one
NEAR_BLOCK = 12  # the same for a block
METHOD = f"16x16 colours; cells within {NEAR_CELL}, 4x4 blocks within {NEAR_BLOCK} of 255 at full contrast"

_CELLS = 16  # each way
_BLOCKS = 4

RenderHash = bytes
"""Red, green and blue of each cell, row by row."""

Values = NDArray[np.int16]


def render_hash(png: bytes) -> RenderHash | None:
    """Of a square picture of `RENDER_SIZE_PX`; None where it is of one colour."""
    with Image.open(io.BytesIO(png)) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=np.float64)
    if np.ptp(pixels, axis=(0, 1)).max() < 1:
        return None
    return np.rint(_means(pixels, _CELLS)).astype(np.uint8).tobytes()


def cells(render_hash: RenderHash) -> Values:
    """All values of a hash, as numbers that can be subtracted."""
    return np.frombuffer(render_hash, np.uint8).astype(np.int16)


def blocks(render_hash: RenderHash) -> Values:
    """Means of the hash's blocks: (4, 4, channel), rounded."""
    values = cells(render_hash).reshape(_CELLS, _CELLS, 3)
    return np.rint(_means(values.astype(np.float64), _BLOCKS)).astype(np.int16)


def are_near(one: RenderHash, other: RenderHash) -> bool:
    """Whether two pictures differ by no more than antialiasing, rounding or a small shift."""
    scale = min(contrast(one), contrast(other)) / 255
    return bool(
        np.abs(cells(one) - cells(other)).max() <= NEAR_CELL * scale
        and np.abs(blocks(one) - blocks(other)).max() <= NEAR_BLOCK * scale
    )


def contrast(render_hash: RenderHash) -> int:
    """How far a cell is from the ground, at most: pale or tiny drawings differ by less than bold ones."""
    values = cells(render_hash).reshape(-1, 3)
    return int(np.abs(values - np.median(values, axis=0)).max())


def _means(values: NDArray[np.float64], parts: int) -> NDArray[np.float64]:
    """(size, size, channel) -> (parts, parts, channel)"""
    size = len(values) // parts
    return np.asarray(values.reshape(parts, size, parts, size, -1).mean(axis=(1, 3)))
