"""The renderers that can turn sanitized SVG text into pixels, behind one function each.

A back end knows nothing of limits, squares or grounds: it draws text into a box and leaves the rest
transparent. It runs inside a worker process only, because any renderer can hang or crash.
"""

from __future__ import annotations

import importlib.util
import io
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

from PIL import EpsImagePlugin, Image

from rendering.document import Drawing
from rendering.errors import RenderError

Draw = Callable[[str, int, int], Image.Image]
"""(svg, width_px, height_px) -> picture in mode RGBA that fits the box and keeps the aspect."""


@dataclass(frozen=True)
class Backend:
    """One renderer that is ready to draw."""

    name: str
    version: str
    draw: Draw


def available_backends() -> dict[str, str]:
    """Name and version of every installed back end, the default one first; imports none of them."""
    return {
        name: version(distribution)
        for name, (module, distribution, _) in _BACKENDS.items()
        if importlib.util.find_spec(module)
    }


def best_backend(drawing: Drawing) -> str:
    """The back end to draw with when fidelity counts more than comparable scores.

    CairoSVG, the default that scores are defined on, unless the drawing needs what it draws wrong and
    another renderer is installed.
    """
    default, *others = available_backends()
    return others[0] if others and drawing.beyond_cairosvg else default


def backend_names() -> list[str]:
    """Names of all back ends that this version knows, installed or not."""
    return list(_BACKENDS)


def open_backend(name: str) -> Backend:
    """Import a renderer and make it ready.

    Raises:
        ValueError: no back end has this name.
        RenderError: it is not installed or lacks a system library (code `backend_unavailable`).
    """
    if name not in _BACKENDS:
        raise ValueError(f"no back end {name!r}. Known: {', '.join(_BACKENDS)}.")
    _, distribution, opener = _BACKENDS[name]
    try:
        draw = opener()
    except (ImportError, OSError) as error:  # cairocffi raises OSError when libcairo is missing
        raise RenderError(
            f"back end {name!r} cannot be used here ({error}). Install the package {distribution!r}"
            " and the system libraries that it needs.",
            code="backend_unavailable",
        ) from None
    return Backend(name, version(distribution), draw)


def _open_cairosvg() -> Draw:
    from cairosvg.parser import Tree
    from cairosvg.surface import PNGSurface

    EpsImagePlugin.gs_binary = False  # Pillow would start Ghostscript for an embedded EPS

    def draw(svg: str, width_px: int, height_px: int) -> Image.Image:
        tree = Tree(bytestring=svg.encode(), unsafe=False)
        # Without an output the surface keeps raw pixels: no PNG is written only to be read again.
        surface = PNGSurface(tree, None, 96, output_width=width_px, output_height=height_px)
        pixels, stride = surface.cairo.get_data(), surface.cairo.get_stride()
        size = (surface.width, surface.height)
        image = Image.frombytes("RGBa", size, bytes(pixels), "raw", "BGRa", stride, 1)
        surface.finish()
        return image.convert("RGBA")

    return draw


def _open_resvg() -> Draw:
    from resvg_py import svg_to_bytes

    sans, serif, mono = (_system_font(generic) for generic in ("sans-serif", "serif", "monospace"))
    to_png = partial(
        svg_to_bytes,
        font_family=serif,
        serif_family=serif,
        sans_serif_family=sans,
        cursive_family=sans,
        fantasy_family=sans,
        monospace_family=mono,
    )

    def draw(svg: str, width_px: int, height_px: int) -> Image.Image:
        # Scanning the system's fonts costs tens of milliseconds, so only a file with text pays for it.
        has_text = "<text" in svg
        png = to_png(svg_string=svg, width=width_px, height=height_px, skip_system_fonts=not has_text)
        return Image.open(io.BytesIO(png)).convert("RGBA")

    return draw


def _open_librsvg() -> Draw:
    os.environ.setdefault("VIPS_CONCURRENCY", "1")  # one file keeps one core
    import pyvips

    def draw(svg: str, width_px: int, height_px: int) -> Image.Image:
        data = svg.encode()
        natural = pyvips.Image.svgload_buffer(data)  # reads the size, draws nothing yet
        scale = min(width_px / natural.width, height_px / natural.height)
        picture = pyvips.Image.svgload_buffer(data, scale=scale)
        image = Image.frombytes("RGBA", (picture.width, picture.height), picture.write_to_memory())
        return image.crop((0, 0, min(image.width, width_px), min(image.height, height_px)))

    return draw


def _system_font(generic: str) -> str | None:
    """The font that fontconfig gives for a generic family; without one, resvg draws no text at all."""
    command = ["fc-match", "--format=%{family[0]}", generic]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout or None
    except (OSError, subprocess.CalledProcessError):
        return None


# name: (module, distribution, opener)
_BACKENDS: dict[str, tuple[str, str, Callable[[], Draw]]] = {
    "cairosvg": ("cairosvg", "CairoSVG", _open_cairosvg),
    "resvg": ("resvg_py", "resvg_py", _open_resvg),
    "librsvg": ("_libvips", "pyvips-binary", _open_librsvg),
}
