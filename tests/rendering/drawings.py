"""Handwritten SVG files, and pictures to look at."""

from __future__ import annotations

import io

from PIL import Image

from rendering.document import Drawing


def svg(body: str, attributes: str = 'viewBox="0 0 100 100"') -> bytes:
    return f'<svg xmlns="http://www.w3.org/2000/svg" {attributes}>{body}</svg>'.encode()


def unchecked(body: str, width: float = 100, height: float = 100) -> Drawing:
    """A drawing that never passed the border, to see what the workers alone withstand."""
    text = svg(body, f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"').decode()
    return Drawing(text, width, height, elements=1, removed=(), warnings=())


def picture(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png))


RED_CIRCLE = unchecked('<circle cx="50" cy="50" r="40" fill="red"/>')
ENDLESS = unchecked('<path d="M0 0 L9 9 z 5 5"/>')  # CairoSVG loops for ever on numbers after a z
