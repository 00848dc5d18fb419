from __future__ import annotations

import pytest
from PIL import Image, ImageDraw

from rendering.compose import CONTRASTING_GROUND, check_background, compose, encode_png, fit
from tests.rendering.drawings import picture


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(10, 10, (64, 64)), (20, 10, (64, 32)), (10, 20, (32, 64)), (1e6, 1e-3, (64, 1)), (3, 2, (64, 43))],
)
def test_fit_keeps_the_aspect_and_at_least_one_pixel(
    width: float, height: float, expected: tuple[int, int]
) -> None:
    assert fit(width, height, 64) == expected


def disc(fill: tuple[int, int, int, int], detail: tuple[int, int, int, int] | None = None) -> Image.Image:
    image = Image.new("RGBA", (64, 64))
    draw = ImageDraw.Draw(image)
    draw.ellipse((8, 8, 56, 56), fill)
    if detail:
        draw.rectangle((28, 28, 34, 34), detail)
    return image


@pytest.mark.parametrize(
    ("image", "ground"),
    [
        (disc((255, 255, 255, 255)), CONTRASTING_GROUND),
        (disc((250, 250, 240, 255)), CONTRASTING_GROUND),
        (disc((255, 255, 255, 255), detail=(0, 0, 0, 255)), CONTRASTING_GROUND),  # a dot on a white disc
        (disc((255, 255, 255, 60)), CONTRASTING_GROUND),
        (disc((255, 255, 0, 255)), "white"),
        (disc((200, 200, 200, 255)), "white"),
        (disc((0, 0, 0, 255)), "white"),
        (disc((0, 0, 0, 255), detail=(255, 255, 255, 255)), "white"),
        (Image.new("RGBA", (64, 64)), "white"),  # nothing drawn
    ],
)
def test_the_automatic_ground_contrasts_with_near_white_drawings_only(
    image: Image.Image, ground: str
) -> None:
    expected = Image.new("RGB", (1, 1), ground).getpixel((0, 0))
    assert compose(image, 64, "auto").getpixel((0, 0)) == expected


def test_half_transparent_ink_is_mixed_with_the_ground() -> None:
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 128))
    assert compose(image, 4, "white").getpixel((0, 0)) == (255, 127, 127)
    assert compose(image, 4, "#00ff00").getpixel((0, 0)) == (128, 127, 0)
    assert compose(image, 4, "transparent").getpixel((0, 0)) == (255, 0, 0, 128)


def test_a_picture_that_is_too_large_is_made_smaller_not_cropped() -> None:
    square = compose(Image.new("RGBA", (65, 33), "black"), 64, "transparent")
    assert square.size == (64, 64)
    assert square.getbbox() == (0, 16, 64, 48)


@pytest.mark.parametrize("background", ["auto", "transparent", "white", "#abc", "rgb(1,2,3)", "hsl(9,9%,9%)"])
def test_known_backgrounds(background: str) -> None:
    check_background(background)


def test_an_unknown_background_is_named() -> None:
    with pytest.raises(ValueError, match=r"'wite'.*'auto'"):
        check_background("wite")


def test_a_picture_survives_png() -> None:
    assert picture(encode_png(disc((1, 2, 3, 4)))).getpixel((32, 32)) == (1, 2, 3, 4)
