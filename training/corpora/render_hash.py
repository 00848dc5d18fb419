"""A perceptual hash of a drawing's picture that tells line icons apart, and colours.

The usual hashes of 64 bits are made for photographs: icons are dark lines on white, so most of their
bits are alike. Here it is 510 bits of shape: whether each of the 255 lowest frequencies of the picture's
cosine transform is clearly positive, and whether it is clearly negative. "Clearly" is relative to
the frequencies of the same pitch, so that a small detail counts beside a large outline, and a frequency that
symmetry makes zero stays zero, where a plain sign would be a toss. The 180 bits of colour above
them hold the mean colour of the ink in each quarter, as thermometers: two colours differ by as many bits
as they are steps apart.
"""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

RENDER_SIZE_PX = 64
SHAPE_BITS = 510
NEAR_SHAPE = 40  # bits that may differ
NEAR_COLOUR = 10
METHOD = f"dct-16x16-ternary-510 within {NEAR_SHAPE} bits, ink-colour-2x2-180 within {NEAR_COLOUR} bits"

_FREQUENCIES = 16  # each way, from 0 on
_CLEARLY = 0.4  # of the root mean square of a pitch
_NOISE = 8.0  # grey levels in the amplitude of a frequency: below it there is only antialiasing
_GREY = np.array([0.5, 0.3, 0.2])  # luminance would make red and green the same
_LEVELS = np.arange(1, 16) * 16  # of a colour channel
_NO_INK = 0.02  # of all ink: a quarter with less has the colour of the whole
_SHAPE_MASK = (1 << SHAPE_BITS) - 1

Pixels = NDArray[np.float64]


def render_hash(png: bytes) -> int | None:
    """Of a square picture of `RENDER_SIZE_PX`; None where it is of one colour."""
    with Image.open(io.BytesIO(png)) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=np.float64)  # (height, width, 3)
    if np.ptp(pixels, axis=(0, 1)).max() < 1:
        return None
    bits = np.concatenate([_shape(pixels @ _GREY), _colour(255 - pixels)])
    return int.from_bytes(np.packbits(bits, bitorder="little").tobytes(), "little")


def are_near(one: int, other: int) -> bool:
    """Whether two pictures differ by no more than antialiasing, rounding or a small shift."""
    different = one ^ other
    return (different & _SHAPE_MASK).bit_count() <= NEAR_SHAPE and (
        different >> SHAPE_BITS
    ).bit_count() <= NEAR_COLOUR


def _shape(grey: Pixels) -> NDArray[np.bool_]:
    cosines = _cosines()
    amplitudes = (cosines @ grey @ cosines.T).ravel()[1:]  # without the mean
    pitches = _pitches()
    squares = np.bincount(pitches, amplitudes**2) / np.maximum(np.bincount(pitches), 1)
    clearly = np.maximum(_CLEARLY * np.sqrt(squares), _NOISE)[pitches]
    return np.concatenate([amplitudes > clearly, amplitudes < -clearly])


def _colour(ink: Pixels) -> NDArray[np.bool_]:
    half = RENDER_SIZE_PX // 2
    whole = ink.reshape(-1, 3)
    quarters = [ink[y : y + half, x : x + half].reshape(-1, 3) for y in (0, half) for x in (0, half)]
    enough = _NO_INK * _weights(whole).sum()
    means = [_mean(quarter if _weights(quarter).sum() > enough else whole) for quarter in quarters]
    return (np.concatenate(means)[:, None] >= _LEVELS).ravel()


def _mean(ink: Pixels) -> Pixels:
    weights = _weights(ink)
    return (weights @ ink) / max(float(weights.sum()), 1.0)


def _weights(ink: Pixels) -> Pixels:
    """Of each pixel: full ink counts most, the pale seam of a shape hardly."""
    return np.asarray(ink.max(axis=1) ** 4 / 255**3)


@cache
def _cosines() -> Pixels:
    """(frequency, pixel), orthonormal but for the mean."""
    pixel = np.arange(RENDER_SIZE_PX)
    frequency = np.arange(_FREQUENCIES)[:, None]
    scale = np.sqrt(2 / RENDER_SIZE_PX)
    return np.asarray(scale * np.cos(np.pi * (2 * pixel + 1) * frequency / (2 * RENDER_SIZE_PX)))


@cache
def _pitches() -> NDArray[np.int_]:
    """How fine each frequency is: its distance from the mean, rounded."""
    across, down = np.meshgrid(np.arange(_FREQUENCIES), np.arange(_FREQUENCIES))
    return np.asarray(np.rint(np.hypot(across, down)).astype(int).ravel()[1:])
