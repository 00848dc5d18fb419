"""What an SVG may cost us before it is refused: one object, every field with its unit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds on one untrusted file; the defaults accept every ordinary drawing."""

    max_bytes: int = 4 << 20  # bytes of the file, and of its content once decompressed
    max_elements: int = 20_000  # elements in the file
    max_depth: int = 100  # levels of nesting
    max_attributes: int = 256  # attributes of one element
    max_path_segments: int = 40_000  # path segments and polygon points, in the whole file
    max_text_chars: int = 20_000  # characters of drawn text
    max_css_bytes: int = 1 << 20  # characters of style sheets and style attributes together
    max_css_rules: int = 2_000  # rules of all style sheets
    max_images: int = 8  # embedded pictures
    max_image_pixels: int = 16_000_000  # pixels of one embedded picture
    max_expanded_elements: int = 50_000  # elements after every reference is followed
    min_side: float = 1e-3  # user units: smallest width or height of the drawing
    max_side: float = 1e6  # user units: largest width or height of the drawing
