from __future__ import annotations

import pytest

from rendering.backends import available_backends, backend_names, open_backend
from tests.rendering.drawings import RED_CIRCLE, svg


def test_the_locked_ones_are_tested() -> None:
    assert {"cairosvg", "resvg"} <= set(available_backends())


def test_the_default_comes_first() -> None:
    assert backend_names()[0] == "cairosvg"
    assert next(iter(available_backends())) == "cairosvg"


@pytest.mark.parametrize("name", available_backends())
def test_every_backend_draws_into_the_box_with_a_transparent_ground(name: str) -> None:
    backend = open_backend(name)
    assert backend.version == available_backends()[name]
    image = backend.draw(RED_CIRCLE.svg, 64, 64)
    assert (image.mode, image.size) == ("RGBA", (64, 64))
    assert image.getpixel((32, 32)) == (255, 0, 0, 255)
    assert image.getpixel((0, 0)) == (0, 0, 0, 0)


@pytest.mark.parametrize("name", available_backends())
@pytest.mark.parametrize(
    "attributes", ['width="80" height="40"', 'viewBox="0 0 80 40"', 'viewBox="0 0 80 40" width="8"']
)
def test_every_backend_scales_to_the_box(name: str, attributes: str) -> None:
    drawing = svg('<rect width="80" height="40"/>', attributes).decode()
    assert open_backend(name).draw(drawing, 32, 16).getbbox() == (0, 0, 32, 16)


@pytest.mark.parametrize("name", available_backends())
def test_half_transparent_colours_are_not_darkened(name: str) -> None:
    drawing = svg('<rect width="100" height="100" fill="red" fill-opacity=".5"/>').decode()
    pixel = open_backend(name).draw(drawing, 4, 4).getpixel((2, 2))
    assert pixel in {(255, 0, 0, 127), (255, 0, 0, 128)}


def test_an_unknown_backend_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"'cairo'.*cairosvg, resvg"):
        open_backend("cairo")


@pytest.mark.parametrize("name", available_backends())
@pytest.mark.parametrize("family", ["", 'font-family="sans-serif"', 'font-family="Arial, monospace"'])
def test_every_backend_draws_text(name: str, family: str) -> None:
    drawing = svg(f'<text x="5" y="60" font-size="40" {family}>Hi</text>').decode()
    assert open_backend(name).draw(drawing, 64, 64).getbbox() is not None
