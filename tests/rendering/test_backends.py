from __future__ import annotations

import pytest

from rendering import canonicalize, load
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


# CSS Color 4 gives one colour in several spaces: #7d2329 (sections 9.3 and 9.4) and #c65d06 (the same).
@pytest.mark.parametrize("name", available_backends())
@pytest.mark.parametrize(
    ("colour", "rgb"),
    [
        ("lab(29.2345% 39.3825 20.0664)", (125, 35, 41)),
        ("oklab(40.101% 0.1147 0.0453)", (125, 35, 41)),
        ("lch(52.2345% 72.2 56.2)", (198, 93, 6)),
        ("oklch(59.69% 0.156 49.77)", (198, 93, 6)),
        ("oklch(0% none none)", (0, 0, 0)),
        ("color(srgb 0.4902 0.1373 0.1608)", (125, 35, 41)),
        ("color(srgb-linear 0.5 0.5 0.5)", (188, 188, 188)),
        ("color(display-p3 0 1 0)", (0, 255, 0)),  # more than sRGB has
        ("color(xyz-d65 0.9505 1 1.089)", (255, 255, 255)),
        ("hwb(120 10% 10%)", (26, 230, 26)),
    ],
)
@pytest.mark.parametrize("place", ['fill="{}"', 'style="fill:{}"', 'color="{}" fill="currentColor"'])
def test_every_backend_draws_the_colour_spaces_of_css(
    name: str, colour: str, rgb: tuple[int, int, int], place: str
) -> None:
    drawing = load(svg(f'<rect width="100" height="100" {place.format(colour)}/>'))
    pixel = open_backend(name).draw(drawing.svg, 4, 4).getpixel((2, 2))
    assert pixel == pytest.approx((*rgb, 255), abs=1)
    assert "(" not in canonicalize(drawing)


def test_an_unknown_backend_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"'cairo'.*cairosvg, resvg"):
        open_backend("cairo")


@pytest.mark.parametrize("name", available_backends())
@pytest.mark.parametrize("family", ["", 'font-family="sans-serif"', 'font-family="Arial, monospace"'])
def test_every_backend_draws_text(name: str, family: str) -> None:
    drawing = svg(f'<text x="5" y="60" font-size="40" {family}>Hi</text>').decode()
    assert open_backend(name).draw(drawing, 64, 64).getbbox() is not None
