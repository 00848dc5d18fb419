"""From a picture with transparency to a square on a ground: padding, never cropping, never black on black."""

from __future__ import annotations

import io

from PIL import Image, ImageChops, ImageColor

AUTO = "auto"
TRANSPARENT = "transparent"
CONTRASTING_GROUND = "#606060"  # white stands out on it, and a black detail is still seen
_NEAR_WHITE_SHARE = 0.05  # a drawing is near-white when less of its ink than this is seen on white
_SEEN = 32  # least difference from white, of 255 in any channel, that is seen


def fit(width: float, height: float, size_px: int) -> tuple[int, int]:
    """The box in pixels, at least one each way, that `width` by `height` fills in a square of `size_px`."""
    longest = max(width, height)
    return max(1, round(size_px * width / longest)), max(1, round(size_px * height / longest))


def check_background(background: str) -> None:
    """Raise ValueError unless `background` is "auto", "transparent" or a colour."""
    if background not in (AUTO, TRANSPARENT):
        try:
            ImageColor.getcolor(background, "RGBA")
        except ValueError:
            raise ValueError(
                f"unknown background {background!r}: use 'white', 'transparent', 'auto', or a colour"
                " such as '#fafafa'"
            ) from None


def compose(picture: Image.Image, size_px: int, background: str) -> Image.Image:
    """Centre an RGBA `picture` on a square: mode RGBA on "transparent", mode RGB on every other ground."""
    if max(picture.size) > size_px:
        picture = picture.resize(fit(*picture.size, size_px))
    square = Image.new("RGBA", (size_px, size_px))
    square.paste(picture, ((size_px - picture.width) // 2, (size_px - picture.height) // 2))
    if background == TRANSPARENT:
        return square
    ground = _ground_for(picture) if background == AUTO else background
    return Image.alpha_composite(Image.new("RGBA", square.size, ground), square).convert("RGB")


def _ground_for(picture: Image.Image) -> str:
    """White, or a contrasting ground when nearly all of the drawing would be lost on white."""
    white = Image.new("RGBA", picture.size, "white")
    on_white = Image.alpha_composite(white, picture).convert("RGB")
    channels = ImageChops.difference(on_white, white.convert("RGB")).split()
    strongest = ImageChops.lighter(ImageChops.lighter(channels[0], channels[1]), channels[2])
    ink = sum(picture.getchannel("A").histogram()[_SEEN:])
    seen = sum(strongest.histogram()[_SEEN:])
    return CONTRASTING_GROUND if seen < _NEAR_WHITE_SHARE * ink else "white"


def encode_png(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=1)  # half the time of the default level, a little larger
    return out.getvalue()
