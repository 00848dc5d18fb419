"""Untrusted SVG bytes in; sanitized text, one canonical text and right pixels out.

    drawing = load(data)                      # safe to show, or SvgRejected with the reason
    text = canonicalize(drawing)              # what a language model reads
    with Rasterizer() as rasterizer:          # worker processes under limits
        png = rasterizer.render(drawing)

Knows nothing of models, captions or servers.
"""

from rendering.canonical import CANONICALIZER_VERSION, canonicalize
from rendering.document import Drawing, load
from rendering.errors import RenderError, SvgCaptionError, SvgRejected
from rendering.limits import Limits
from rendering.raster import Raster, Rasterizer

__all__ = [
    "CANONICALIZER_VERSION",
    "Drawing",
    "Limits",
    "Raster",
    "Rasterizer",
    "RenderError",
    "SvgCaptionError",
    "SvgRejected",
    "canonicalize",
    "load",
]
