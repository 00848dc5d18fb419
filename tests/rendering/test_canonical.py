from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rendering.canonical import canonicalize
from rendering.compare import pixels_of, similarity
from rendering.document import load
from rendering.raster import Rasterizer
from tests.rendering.drawings import svg

ROOT = Path(__file__).parents[2]
EDITOR = (
    'xmlns:inkscape="http://www.inkscape.org/namespaces/inkscape" '
    'xmlns:sodipodi="http://sodipodi.sourceforge.net/DTD/sodipodi-0.dtd" viewBox="0 0 64 64"'
)

DRAWINGS = {
    "shapes": svg(
        '<rect x="5" y="5" width="30" height="20" rx="4" fill="#336699"/>'
        '<circle cx="70" cy="25" r="15" fill="rgb(200, 30, 30)"/>'
        '<ellipse cx="30" cy="70" rx="20" ry="10" fill="#393"/>'
        '<line x1="60" y1="60" x2="90" y2="90" stroke="black" stroke-width="3"/>'
        '<polygon points="60,95 70,75 80,95" fill="orange"/>'
        '<polyline points="5,95 15,85 25,95 35,85" fill="none" stroke="teal" stroke-width="2"/>'
    ),
    "path commands": svg(
        '<path d="m10 10 h30 v30 l-10 10 q-10 10 -20 0 t-5 -5 c-2-2-4-4-5-10 s3-9 10-25z'
        'M60 60a15 15 0 1 1 20 20a 5,8 30 0 0-10-4 Z" fill="purple"/>'
    ),
    "relative numbers without spaces": svg('<path d="M10-10l.5.5.5.5L50 90 90.5.5-1e1 4e1z" fill="navy"/>'),
    "transforms": svg(
        '<g transform="translate(50 50) rotate(30)"><rect x="-20" y="-10" width="40" height="20" fill="red"/>'
        '<g transform="scale(.5) skewX(20)"><circle r="20" cy="40" fill="blue" stroke="black"/></g></g>'
    ),
    "styles": svg(
        "<style>.a{fill:#f00;stroke:#000}#b{fill:lime}rect{stroke-width:4}</style>"
        '<rect class="a" x="10" y="10" width="30" height="30"/>'
        '<rect id="b" x="50" y="10" width="30" height="30" style="stroke:blue;opacity:.5"/>'
    ),
    "gradients": svg(
        '<defs><linearGradient id="a"><stop offset="0" stop-color="red"/>'
        '<stop offset="100%" stop-color="blue" stop-opacity=".5"/></linearGradient>'
        '<radialGradient id="b" href="#a" gradientUnits="userSpaceOnUse" cx="70" cy="70" r="20"/></defs>'
        '<rect width="50" height="50" fill="url(#a)"/><circle cx="70" cy="70" r="20" fill="url(#b)"/>'
    ),
    "hsl colours": svg('<rect x="20" y="20" width="60" height="60" fill="hsl(120, 50%, 40%)"/>'),
    "clip path": svg(
        '<clipPath id="c"><circle cx="30" cy="30" r="20"/></clipPath>'
        '<rect width="60" height="60" fill="green" clip-path="url(#c)"/>'
    ),
    "mask": svg(
        '<mask id="m"><rect x="50" y="50" width="40" height="40" fill="white"/></mask>'
        '<circle cx="70" cy="70" r="25" fill="maroon" mask="url(#m)"/>'
    ),
    "uses": svg(
        '<defs><g id="leaf"><path d="M0 0q10-10 20 0q-10 10-20 0z"/></g></defs>'
        '<use href="#leaf" x="20" y="20" fill="green"/>'
        '<use href="#leaf" transform="translate(50 50) rotate(45) scale(2)" fill="olive"/>'
    ),
    "group opacity": svg(
        '<g opacity=".5"><rect width="60" height="60" fill="red"/>'
        '<rect x="30" y="30" width="60" height="60" fill="blue"/></g>'
    ),
    "text": svg('<text x="10" y="60" font-size="40" font-family="sans-serif" fill="#222">Hi</text>'),
    "a wide drawing with an offset": svg(
        '<circle cx="0" cy="0" r="8" fill="red"/><path d="M-90-8h20v16h-20z"/>', 'viewBox="-100 -10 200 20"'
    ),
    "a viewport of another shape": svg(
        '<rect width="10" height="10" fill="gold"/>', 'width="300" height="100" viewBox="0 0 10 10"'
    ),
    "editor's noise": svg(
        '<sodipodi:namedview id="base" pagecolor="#ffffff"/><metadata>much</metadata>'
        '<g inkscape:label="Layer 1" id="layer1">'
        '<path style="fill:#00f;fill-opacity:1;stroke:none" d="M 8.000001,8 H 56 V 56 H 8 Z" id="p1"/></g>',
        EDITOR,
    ),
    "dashes and caps": svg(
        '<path d="M10 50H90" stroke="red" stroke-width="8" stroke-dasharray="12 6" stroke-linecap="round"/>'
    ),
    "a pattern": svg(
        '<pattern id="p" width="10" height="10" patternUnits="userSpaceOnUse">'
        '<circle cx="5" cy="5" r="3"/></pattern><rect width="80" height="80" fill="url(#p)"/>'
    ),
    "even-odd": svg('<path fill-rule="evenodd" d="M10 10h80v80h-80zM30 30h40v40h-40z"/>'),
    "hidden things": svg(
        '<rect width="100" height="100" display="none"/><g visibility="hidden"><circle r="40"/></g>'
        '<circle cx="50" cy="50" r="20" fill="red"/>'
    ),
    "gradients that borrow": svg(
        '<defs><radialGradient id="a" cx=".3" cy=".3" r=".7" fx=".2" fy=".25">'
        '<stop offset="0" stop-color="gold"/><stop offset="1" stop-color="navy"/></radialGradient>'
        '<linearGradient id="b" href="#a" x2="0" y2="1"/></defs>'
        '<rect width="45" height="90" fill="url(#a)"/><rect x="55" width="45" height="90" fill="url(#b)"/>'
    ),
    "gradients under a skew": svg(
        '<defs><linearGradient id="a" gradientUnits="userSpaceOnUse" x1="10" y1="10" x2="60" y2="30" '
        'gradientTransform="skewX(30) scale(1 .5)"><stop stop-color="red"/>'
        '<stop offset="1" stop-color="blue"/></linearGradient>'
        '<radialGradient id="b" gradientUnits="userSpaceOnUse" cx="50" cy="140" r="30" fx="40" '
        'fy="135" gradientTransform="scale(1 .5)"><stop stop-color="white"/><stop offset="1"/>'
        "</radialGradient></defs>"
        '<rect width="100" height="45" fill="url(#a)"/><rect y="50" width="100" height="40" fill="url(#b)"/>'
    ),
    "points that are all negative": svg(
        '<g transform="rotate(180)"><polygon points="-10-10-90-10-50-80" fill="olive"/></g>'
    ),
    "a nearly round disc": svg(
        '<path d="M95 50A45.1 45.2 0 1 1 5 50A45.1 45.2 0 1 1 95 50L50 50" fill="none" stroke="red"/>'
    ),
    "large arcs with near ends": svg(
        '<path d="M52.3 20.03a30.1 30.1 0 1 0 2.1.2l-2 2z" fill="none" stroke="black"/>'
        '<path d="M50 45a5 5 0 1 1-.001 0z" fill="red"/>'
        '<path d="M52 20a30.143 0.1 0 1 0 2.1.2l-2 2z" stroke="black"/>'
    ),
    "discs as paths": svg(
        '<path d="M30 20a10 10 0 1 0 0 20a10 10 0 1 0 0-20Z" '
        'fill="red" stroke="black" stroke-linejoin="round"/>'
        '<path d="M60 70a20 10 0 0 1 20 10a20 10 0 0 1-20 10'
        'a20 10 0 0 1-20-10a20 10 0 0 1 20-10" fill="teal"/>'
    ),
    "smooth and straight curves": svg(
        '<path d="M5 50C15 20 25 20 35 50C45 80 55 80 65 50C68 50 90 50 95 50" fill="none" stroke="navy"/>'
        '<path d="M5 80Q20 60 35 80Q50 100 65 80T95 80" fill="none" stroke="olive"/>'
    ),
    "closed twice": svg('<path d="M10 10H60V60L10 10Z" fill="none" stroke="red" stroke-width="6"/>'),
    "caps that differ": svg(
        '<g stroke="black" stroke-width="9"><path d="M20 20H80" stroke-linecap="round"/>'
        '<circle cx="50" cy="50" r="9" stroke-linecap="round"/><path d="M20 80H80"/></g>'
    ),
    "a clip path that paints nothing": svg(
        '<clipPath id="c" fill="none"><path d="M0 0H50V50H0Z" fill="none"/></clipPath>'
        '<rect width="90" height="90" fill="green" clip-path="url(#c)"/>'
    ),
    "what nothing refers to": svg(
        '<pattern id="p" width="9" height="9"><path d="M0 0"/></pattern><filter id="f"/>'
        '<linearGradient id="g" href="#p"/><rect x="10" y="10" width="50" height="50" fill="red"/>'
    ),
    "share of opacity": svg('<rect width="60" height="60" fill-opacity="50%" opacity="80%"/>'),
    "an origin of transforms": svg(
        '<rect x="30" y="30" width="40" height="40" transform="rotate(45)" transform-origin="center"/>'
    ),
    "a switch": svg(
        '<switch><rect width="90" height="90" fill="red" systemLanguage="is"/>'
        '<rect width="90" height="90" fill="green" systemLanguage="en-GB"/><circle r="9"/></switch>'
    ),
    "currentColor": svg('<g color="green"><path d="M20 20h60v60z" fill="currentColor"/></g>'),
}


# CairoSVG draws a mask at another size for another size of the drawing.
BEYOND_CAIROSVG = {"mask"}
RENDERED = [
    (backend, name)
    for backend in ("cairosvg", "resvg")
    for name in DRAWINGS
    if backend != "cairosvg" or name not in BEYOND_CAIROSVG
]


@pytest.fixture(scope="module")
def rasterizers() -> Iterator[dict[str, Rasterizer]]:
    with Rasterizer() as cairosvg, Rasterizer(backend="resvg") as resvg:
        yield {"cairosvg": cairosvg, "resvg": resvg}


@pytest.mark.parametrize("name", DRAWINGS)
def test_the_canonical_text_is_its_own_canonical_text(name: str) -> None:
    text = canonicalize(load(DRAWINGS[name]))
    assert canonicalize(load(text.encode())) == text


@pytest.mark.parametrize(("backend", "name"), RENDERED)
def test_the_canonical_text_draws_the_same_picture(
    backend: str, name: str, rasterizers: dict[str, Rasterizer]
) -> None:
    drawing = load(DRAWINGS[name])
    canonical = load(canonicalize(drawing).encode())
    one, other = (pixels_of(rasterizers[backend].render(each, size_px=256)) for each in (drawing, canonical))
    likeness = similarity(one, other)
    assert likeness.mean_absolute_difference < 0.004
    assert likeness.block_ssim > 0.95


def test_a_turned_half_ellipse_stays_where_it_is(rasterizers: dict[str, Rasterizer]) -> None:
    """Its ends say little about its centre, so all hangs on the angle."""
    lid = '<path d="M21 10.5A9 2.5 25.32 0 0 4.59 3.47 9 2.5 25.32 0 0 21 10.5" fill="none" stroke="red"/>'
    drawing = load(svg(lid, 'viewBox="0 0 24 24"'))
    canonical = load(canonicalize(drawing).encode())
    assert "25.32" in canonical.svg
    for rasterizer in rasterizers.values():
        one, other = (pixels_of(rasterizer.render(each, size_px=256)) for each in (drawing, canonical))
        assert similarity(one, other).mean_absolute_difference < 0.004


@pytest.mark.parametrize(
    ("d", "canonical"),
    [
        ("M7.004 7v.004H7", "M292 292H293"),
        ("M3 3h9M7 7h.01", "M125 125H500M292 292H293"),
        ("M8 14h.004v.004H8zm8 0h.004v.004H16z", "M333 583H334V584H333ZM667 583H668V584H667Z"),
        ("M22 15v1l.001.001z", "M916.67 625V666.67L916.71 666.71Z"),
        ("M9.654 3.001h-1V3z", "M402.25 125.04H360.58V125Z"),
        ("M7.807 10h.002l8.202 8.25z", "M325.3 416.7H325.4L667.1 760.4Z"),
        ("M8 18v-4h.001L10 16l1.99-2H12v4", "M333.3 750V583.3H333.4L416.7 666.7 499.6 583.3H500V750"),
        ("M16 9.999H21V3h-5.001z", "M667 417H875V125H667Z"),
        ("M5 5h0", "M208 208H208"),
        ("M3 3h9z", "M125 125H500Z"),
    ],
)
def test_what_a_stroke_shows_of_the_smallest_lines_stays(d: str, canonical: str) -> None:
    drawing = load(svg(f'<path d="{d}" stroke="red" stroke-linecap="square"/>', 'viewBox="0 0 24 24"'))
    text = canonicalize(drawing)
    assert f'd="{canonical}"' in text
    assert canonicalize(load(text.encode())) == text


@pytest.mark.parametrize("backend", ["cairosvg", "resvg"])
@pytest.mark.parametrize(
    "d",
    [
        "M15 8l.084.042-.084.042-.042-.042z",
        "M15.877 11A4.25 4.25 0 1 0 8.13 7.5a4.25 4.25 0 0 0 7.748 3.5Z",
        "M21 10.5A9 2.5 0 1 1 20.3 9.6",
        "M4 9h6.97c.014 0 .025-.011.025-.025V4",
    ],
    ids=["a tiny diamond", "ends that nearly meet", "a large arc", "a tiny round corner"],
)
def test_small_sides_turn_no_corner_of_a_wide_stroke(
    d: str, backend: str, rasterizers: dict[str, Rasterizer]
) -> None:
    drawing = load(svg(f'<path d="{d}" stroke="red" stroke-width="3" fill="none"/>', 'viewBox="0 0 24 24"'))
    text = canonicalize(drawing)
    canonical = load(text.encode())
    assert canonicalize(canonical) == text
    one, other = (
        pixels_of(rasterizers[backend].render(each, size_px=256)).astype(int) for each in (drawing, canonical)
    )
    assert np.abs(one - other).max() < 150  # what antialiasing makes of half a pixel


@pytest.mark.parametrize("backend", ["cairosvg", "resvg"])
def test_dashes_stay_where_they_are(backend: str, rasterizers: dict[str, Rasterizer]) -> None:
    """They count the whole length, and with it what rounding adds to each side."""
    sides = "".join(f"h{0.68:.2f}v{0.68 * sign:.2f}" for sign in (1, -1) * 7)
    path = f'<path d="M2 9{sides}" stroke="red" stroke-dasharray=".4" fill="none"/>'
    drawing = load(svg(path, 'viewBox="0 0 24 24"'))
    canonical = load(canonicalize(drawing).encode())
    one, other = (pixels_of(rasterizers[backend].render(each, size_px=256)) for each in (drawing, canonical))
    assert similarity(one, other).mean_absolute_difference < 0.005


def test_it_is_shorter() -> None:
    before = sum(len(data) for data in DRAWINGS.values())
    after = sum(len(canonicalize(load(data))) for data in DRAWINGS.values())
    assert after < 0.8 * before


@pytest.mark.parametrize(
    "leak",
    [
        "<title>SECRET</title>",
        "<desc>SECRET</desc>",
        "<!-- SECRET -->",
        "<metadata>SECRET</metadata>",
        '<circle class="SECRET" r="9"/>',
        '<circle id="SECRET" r="9"/>',
        '<circle data-name="SECRET" r="9"/>',
        '<circle aria-label="SECRET" role="SECRET" r="9"/>',
        '<linearGradient id="SECRET"><stop/></linearGradient>'
        '<rect fill="url(#SECRET)" width="9" height="9"/>',
        '<defs><circle id="SECRET" r="9"/></defs><use href="#SECRET"/>',
        '<pattern id="SECRET" width="1" height="1"><rect width="1" height="1"/></pattern>'
        '<rect fill="url(#SECRET)" width="9" height="9"/>',
        '<symbol id="SECRET"><title>SECRET</title><circle r="9"/></symbol><use href="#SECRET"/>',
        "<style>.SECRET { fill: red }</style>",
        '<g xmlns:i="urn:editor" i:label="SECRET"><circle r="9"/></g>',
    ],
)
def test_no_name_leaks_into_the_prompt(leak: str) -> None:
    assert "SECRET" not in canonicalize(load(svg(leak)))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (svg("<desc>It is  red.</desc><title>A <b>dot</b></title><circle r='9'/>"), "<title>A</title>"),
        (svg("<title/><title>A dot</title><circle r='9'/>"), "<title>A dot</title>"),
        (svg("<circle r='9'/>", 'viewBox="0 0 9 9" aria-label="A dot"'), "<title>A dot</title>"),
        (
            svg('<pattern id="p"/><title>A dot</title><rect fill="url(#p)" width="9" height="9"/>'),
            "<title>A dot</",
        ),
    ],
)
def test_the_words_of_a_drawing_can_be_kept(data: bytes, words: str) -> None:
    text = canonicalize(load(data), keep_words=True)
    assert words in text
    assert canonicalize(load(text.encode()), keep_words=True) == text
    assert "title" not in canonicalize(load(data))


def test_words_that_are_drawn_stay() -> None:
    assert "SALE" in canonicalize(load(svg('<text y="50">SALE</text>')))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('<rect width="10" height="10" fill="#ff0000"/>', '<rect height="10" width="10" style="fill:red"/>'),
        ('<path d="M0 0h10v10z"/>', '<path d="M 0,0 L 10,0 L 10,10 Z"/>'),
        ('<circle cx="5" cy="5" r="2"/>', '<g transform="translate(5,5)"><circle r="2"/></g>'),
        ('<circle r="2"/>', '<g id="x"><g><circle r="2" fill="black" stroke="none"/></g></g>'),
    ],
)
def test_equal_drawings_get_equal_text(one: str, other: str) -> None:
    assert canonicalize(load(svg(one))) == canonicalize(load(svg(other)))


@pytest.mark.parametrize(
    ("drawn", "text"),
    [
        ('<path d="M30 20a10 10 0 1 0 0 20a10 10 0 1 0 0-20"/>', '<circle cx="300" cy="300" r="100"/>'),
        ('<path d="M10 10H60V60L10 10Z"/>', '<path d="M100 100H600V600"/>'),
        ('<path d="M10 10H60V60L10 10Z" stroke="red"/>', "M100 100H600V600Z"),
        ('<path d="M0 0C0 30 30 30 30 0C30-30 60-30 60 0"/>', "M0 0C0 300 300 300 300 0S600-300 600 0"),
        ('<path d="M0 0C10 0 20 0 30 0V30"/>', "M0 0H300V300"),
        ('<path d="M0 0H10H30V30"/>', "M0 0H300V300"),
        ('<circle r="5" stroke="red" stroke-linejoin="round" stroke-miterlimit="9"/>', ' r="50" fill'),
        ('<circle r="5" marker-end="none" stroke-dashoffset="3" stroke-width="2"/>', '<circle r="50"/>'),
    ],
)
def test_what_changes_nothing_is_not_written(drawn: str, text: str) -> None:
    canonical = canonicalize(load(svg(drawn)))
    assert text.removesuffix(" fill") in canonical
    assert not any(word in canonical for word in ("join", "miter", "marker", "dash"))


def test_one_property_stands_once_where_all_share_it() -> None:
    """A circle has no line joins, so its missing join does not keep the others' from the common parent."""
    lines = '<path d="M0 0H9V9"/><circle r="3"/><path d="M5 5H9V9"/>'
    text = canonicalize(load(svg(f'<g fill="none" stroke="red" stroke-linejoin="round">{lines}</g>')))
    assert text.count("stroke-linejoin") == 1


def test_it_does_not_depend_on_the_hash_seed() -> None:
    program = (
        "from rendering import canonicalize, load\n"
        "from tests.rendering.test_canonical import DRAWINGS\n"
        "print([canonicalize(load(data)) for data in DRAWINGS.values()])\n"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1
