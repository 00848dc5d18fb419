"""Pictures of samples, for every captioner and metric that looks at pixels."""

from __future__ import annotations

import io
from importlib.metadata import version

from PIL import Image

from captioning.corpus import Sample
from captioning.pipeline import as_bytes
from rendering import Rasterizer, load

PICTURE_SIZE_PX = 512


def picture_of(sample: Sample, rasterizer: Rasterizer) -> Image.Image:
    """An RGB picture of the sanitized drawing, on a ground that it shows on; padded to a square.

    Raises:
        SvgCaptionError: the drawing is refused or cannot be drawn.
    """
    png = rasterizer.render(load(as_bytes(sample.svg)), size_px=PICTURE_SIZE_PX, background="auto")
    return Image.open(io.BytesIO(png)).convert("RGB")


def picture_signature() -> str:
    return f"picture:{PICTURE_SIZE_PX}px,ground:auto,cairosvg:{version('cairosvg')}"
