"""The border: every kind of hostile or broken file ends in a refusal with a code, or in a safe drawing."""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import pickle
import socket
import time
from collections.abc import Iterator

import pytest
from PIL import Image

from rendering.document import load
from rendering.errors import RenderError, SvgRejected
from rendering.limits import Limits
from rendering.raster import Rasterizer
from tests.rendering.drawings import picture, svg

XLINK = 'xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 100 100"'
CIRCLE = '<circle cx="50" cy="50" r="40" fill="red"/>'


def png(width: int, height: int) -> str:
    out = io.BytesIO()
    Image.new("1", (width, height)).save(out, "PNG")
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


def entity_bomb(levels: int = 10) -> bytes:
    rows = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, levels))
    return f'<!DOCTYPE svg [<!ENTITY e0 "ha">{rows}]><svg><text>&e{levels - 1};</text></svg>'.encode()


def use_bomb(levels: int = 20) -> bytes:
    rows = "".join(
        f'<g id="u{n}"><use href="#u{n - 1}"/><use href="#u{n - 1}"/></g>' for n in range(1, levels)
    )
    return svg(f'<defs><rect id="u0" width="9" height="9"/>{rows}</defs><use href="#u{levels - 1}"/>')


def pattern_bomb(levels: int = 20) -> bytes:
    rows = "".join(
        f'<pattern id="p{n}" width="9" height="9"><rect width="9" height="9" fill="url(#p{n - 1})"/>'
        f'<rect width="9" height="9" fill="url(#p{n - 1})"/></pattern>'
        for n in range(1, levels)
    )
    return svg(f'<defs>{rows}</defs><rect width="99" height="99" fill="url(#p{levels - 1})"/>')


REFUSED = {
    "empty": (b"", "empty"),
    "white space": (b" \n\t ", "empty"),
    "a text file": (b"Dear Sir or Madam", "not_svg"),
    "a PNG": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "not_svg"),
    "HTML": (b"<!DOCTYPE html><html><body><svg/></body></html>", "not_svg"),
    "other XML": (b"<?xml version='1.0'?><note>svg</note>", "not_svg"),
    "zero bytes": (b"\x00" * 100, "empty"),
    "truncated in a tag": (svg(CIRCLE)[:-20], "malformed"),
    "truncated between tags": (svg("<g>" + CIRCLE).removesuffix(b"</svg>"), "malformed"),
    "two roots": (svg(CIRCLE) * 2, "malformed"),
    "an unknown encoding": (b'<?xml version="1.0" encoding="klingon"?>' + svg(CIRCLE), "encoding"),
    "bytes that are not its encoding": (
        svg("<title>\xff\xfe</title>").decode().encode("latin-1"),
        "malformed",
    ),
    "an entity bomb": (entity_bomb(), "entities"),
    "one harmless entity": (b'<!DOCTYPE svg [<!ENTITY a "b">]><svg><text>&a;</text></svg>', "entities"),
    "an external entity": (
        b'<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg><text>&x;</text></svg>',
        "entities",
    ),
    "a parameter entity": (
        b'<!DOCTYPE svg [<!ENTITY % x SYSTEM "http://127.0.0.1/x.dtd"> %x;]><svg/>',
        "entities",
    ),
    "too many bytes": (svg(" " * (4 << 20)), "too_large"),
    "a gzip bomb": (gzip.compress(svg(" " * (100 << 20))), "too_large"),
    "a cut gzip file": (gzip.compress(svg(CIRCLE))[:-12], "malformed"),
    "a broken gzip file": (b"\x1f\x8b" + b"junk" * 20, "malformed"),
    "too many elements": (svg("<g/>" * 30_000), "too_many_elements"),
    "deep nesting": (svg("<g>" * 5_000 + "</g>" * 5_000), "too_deep"),
    "too many attributes": (
        svg("<g " + "".join(f"a{n}='' " for n in range(1_000)) + "/>"),
        "too_many_attributes",
    ),
    "a use bomb": (use_bomb(), "expansion"),
    "a pattern bomb": (pattern_bomb(), "expansion"),
    "a path bomb": (svg(f'<path d="M0 0{"l1 1" * 100_000}"/>'), "too_many_path_segments"),
    "a polyline bomb": (svg(f'<polyline points="{"1 2 " * 100_000}"/>'), "too_many_path_segments"),
    "too much text": (svg(f"<text>{'a' * 50_000}</text>"), "too_much_text"),
    "an embedded raster bomb": (
        svg(f'<image width="9" height="9" href="{png(5_000, 5_000)}"/>'),
        "image_too_large",
    ),
    "too many images": (
        svg("".join(f'<image width="{n}" height="9" href="{png(1, 1)}"/>' for n in range(1, 20))),
        "too_many_images",
    ),
    "no area": (svg(CIRCLE, 'width="0" height="10"'), "size"),
    "a huge canvas": (svg(CIRCLE, 'width="2e6" height="2e6"'), "size"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_quickly_and_with_the_reason(name: str) -> None:
    data, code = REFUSED[name]
    started = time.monotonic()
    with pytest.raises(SvgRejected) as caught:
        load(data)
    assert caught.value.code == code
    assert time.monotonic() - started < 5
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.code) == (str(caught.value), code)


def test_a_refusal_gives_the_value_and_the_limit() -> None:
    with pytest.raises(SvgRejected, match=r"limit is 2\b"):
        load(svg("<g/>" * 9), Limits(max_elements=2))


REMOVED = {
    "a script": (svg(f"<script>alert(1)</script>{CIRCLE}"), "script"),
    "an embedded raster that inflates": (
        svg(f'<image width="9" height="9" href="{png(20_000, 20_000)}"/>{CIRCLE}'),
        "unreadable embedded image",
    ),
    "a script from elsewhere": (svg(f'<script href="http://127.0.0.1/x.js"/>{CIRCLE}'), "script"),
    "an event handler": (svg(CIRCLE.replace("/>", ' onload="alert(1)"/>')), "event handler"),
    "an event handler in capitals": (svg(CIRCLE.replace("/>", ' ONCLICK="alert(1)"/>')), "event handler"),
    "foreign content": (svg(f"<foreignObject><p>hello</p></foreignObject>{CIRCLE}"), "foreignObject"),
    "an animation": (svg(f'<set attributeName="href" to="javascript:alert(1)"/>{CIRCLE}'), "set"),
    "an external image": (
        svg(f'<image href="http://127.0.0.1/x.png" width="9" height="9"/>{CIRCLE}'),
        "external reference",
    ),
    "a local file": (
        svg(f'<image xlink:href="file:///etc/passwd" width="9" height="9"/>{CIRCLE}', XLINK),
        "external reference",
    ),
    "an SVG in a data URI": (
        svg(f'<image href="data:image/svg+xml,%3Csvg/%3E" width="9" height="9"/>{CIRCLE}'),
        "external reference",
    ),
    "an external use": (svg(f'<use href="other.svg#a"/>{CIRCLE}'), "external reference"),
    "an external fill": (
        svg(f'<rect width="9" height="9" fill="url(http://127.0.0.1/#a)"/>{CIRCLE}'),
        "external reference",
    ),
    "a style sheet instruction": (
        b'<?xml-stylesheet href="http://127.0.0.1/x.css"?>' + svg(CIRCLE),
        "processing instruction",
    ),
    "a use of itself": (svg(f'<g id="a"><use href="#a"/></g>{CIRCLE}'), "reference cycle"),
}


@pytest.fixture(scope="module")
def rasterizer() -> Iterator[Rasterizer]:
    with Rasterizer() as pool:
        yield pool


@pytest.mark.parametrize("name", REMOVED)
def test_removed_and_reported_and_the_rest_is_drawn(name: str, rasterizer: Rasterizer) -> None:
    data, what = REMOVED[name]
    drawing = load(data)
    assert any(removed.startswith(what) for removed in drawing.removed)
    for trace in ("alert", "script", "127.0.0.1", "passwd", "other.svg", "foreign", "hello"):
        assert trace not in drawing.svg
    assert picture(rasterizer.render(drawing, size_px=64)).getpixel((32, 32)) == (255, 0, 0)


@pytest.mark.parametrize(
    "css",
    [
        "@import url(http://127.0.0.1/x.css);",
        "@font-face { font-family: x; src: url(http://127.0.0.1/x.woff) }",
        "circle { fill: url(http://127.0.0.1/x.svg#a); stroke: red }",
        "circle { background: url(http://127.0.0.1/x.png); cursor: url(//127.0.0.1/c) }",
        "circle { fill: u\\72l(http://127.0.0.1/x.svg#a) }",
    ],
)
@pytest.mark.parametrize("where", ["sheet", "attribute"])
def test_css_reaches_nothing(css: str, where: str) -> None:
    if where == "sheet":
        drawing = load(svg(f"<style>{css}</style>{CIRCLE}"))
    else:
        inline = css[css.find("{") + 1 : css.find("}")]
        drawing = load(svg(f'<circle r="40" style="{inline}"/>'))
    assert "127.0.0.1" not in drawing.svg


ACCEPTED = {
    "plain": svg(CIRCLE),
    "SVGZ": gzip.compress(svg(CIRCLE)),
    "a byte-order mark": b"\xef\xbb\xbf" + svg(CIRCLE),
    "UTF-16": b"\xff\xfe" + svg(CIRCLE).decode().encode("utf-16-le"),
    "Latin-1, declared": b'<?xml version="1.0" encoding="iso-8859-1"?>'
    + svg(f"<title>caf\xe9</title>{CIRCLE}").decode().encode("latin-1"),
    "a DOCTYPE without a subset": b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" '
    b'"http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">' + svg(CIRCLE),
    "a comment before the root": b"<!-- made by hand -->" + svg(CIRCLE),
    "no namespace": f'<svg viewBox="0 0 100 100">{CIRCLE}</svg>'.encode(),
    "a prefix": b'<s:svg xmlns:s="http://www.w3.org/2000/svg" viewBox="0 0 100 100">'
    b'<s:circle cx="50" cy="50" r="40" fill="red"/></s:svg>',
    "a style sheet": svg('<style>.a { fill: red }</style><circle class="a" cx="50" cy="50" r="40"/>'),
    "size in millimetres": svg(CIRCLE, 'width="50mm" height="50mm" viewBox="0 0 100 100"'),
    "size in per cent": svg(CIRCLE, 'width="100%" height="100%" viewBox="0 0 100 100"'),
    "xlink": svg(
        f'<defs><g id="a">{CIRCLE}</g></defs><use xlink:href="#a"/>',
        'xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 100 100"',
    ),
    "a gradient": svg(
        '<linearGradient id="g"><stop stop-color="red"/></linearGradient>'
        '<circle cx="50" cy="50" r="40" fill="url(#g)"/>'
    ),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_ordinary_files_are_drawn(name: str, rasterizer: Rasterizer) -> None:
    drawing = load(ACCEPTED[name])
    assert drawing.width == pytest.approx(drawing.height)
    assert picture(rasterizer.render(drawing, size_px=64)).getpixel((32, 32)) == (255, 0, 0)


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_sanitized_file_passes_unchanged(name: str) -> None:
    once = load(ACCEPTED[name])
    twice = load(once.svg.encode())
    assert twice.svg == once.svg
    assert twice.removed == ()


def test_nothing_is_fetched(rasterizer: Rasterizer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/x"
        hostile = svg(
            f'<style>@import "{url}"; @font-face {{ font-family: f; src: url({url}) }}</style>'
            f'<image href="{url}" width="9" height="9"/><use xlink:href="{url}#a"/>'
            f'<rect fill="url({url}#g)" width="9" height="9"/><text font-family="f">a</text>'
            f'<filter id="f"><feImage href="{url}"/></filter><g filter="url(#f)">{CIRCLE}</g>'
            f'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="{url}"/>',
            XLINK,
        )
        for data in (hostile, f'<?xml-stylesheet href="{url}"?>'.encode() + hostile):
            rasterizer.render(load(data))
        with pytest.raises(TimeoutError):
            listener.accept()


HEAVY = {
    "numbers after z": svg('<path d="M0 0 L9 9 z 5 5"/>'),
    "a degenerate arc": svg('<path d="M0 0A1e-300 1e300 0 1 1 1e300 1e-300" stroke="red"/>'),
    "a scale of 1e15": svg(f'<g transform="scale(1e15)">{CIRCLE}</g>'),
    "an open transform": svg(f'<g transform="{"rotate(" * 10_000}">{CIRCLE}</g>'),
    "an open colour": svg(f'<rect fill="rgb({"1," * 2_000}" width="9" height="9"/>'),
    "an infinite canvas": svg(CIRCLE, 'width="1e999" height="10"'),
    "fine dashes": svg('<path d="M0 0H100" stroke="red" stroke-dasharray="1e-9"/>'),
    "nested clip paths": svg(
        "".join(f'<clipPath id="c{n}" clip-path="url(#c{n + 1})">{CIRCLE}</clipPath>' for n in range(300))
        + '<rect width="99" height="99" clip-path="url(#c0)"/>'
    ),
    "a filter of a thousand pixels": svg(
        f'<filter id="f"><feGaussianBlur stdDeviation="9999"/></filter><g filter="url(#f)">{CIRCLE}</g>'
    ),
    "a million characters of style": svg(f'<g style="{"fill:red;" * 50_000}">{CIRCLE}</g>'),
}


@pytest.mark.parametrize("name", HEAVY)
def test_heavy_files_end_in_a_picture_or_a_typed_error(name: str, rasterizer: Rasterizer) -> None:
    started = time.monotonic()
    with contextlib.suppress(SvgRejected, RenderError):
        assert picture(rasterizer.render(load(HEAVY[name]), size_px=64)).size == (64, 64)
    assert time.monotonic() - started < 10


def test_a_property_that_is_no_number_is_dropped() -> None:
    drawing = load(
        b'<svg viewBox="0 0 9 9"><rect width="9" height="9" opacity="none" stroke-width="thick"/></svg>'
    )
    assert "opacity" not in drawing.svg
    assert "stroke-width" not in drawing.svg


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ('<rect id="image1" width="9" height="9"/><use href="#image1"/>', 'id="image1"'),
        ('<text font-family="Curlz MT">a</text>', "Curlz MT"),
        ('<rect width="9" height="9" fill-opacity="25%"/>', 'fill-opacity=".25"'),
        ('<path d="M0 0H9" stroke="red" stroke-dasharray="1mm, 10%"/>', 'stroke-dasharray="3.779528 10"'),
        (f'<a xmlns:xlink="urn:x" xlink:href="http://x">{CIRCLE}</a>', "<circle"),
        (
            '<linearGradient id="a" xmlns:s="http://www.w3.org/2000/svg" href="#b" s:href="#c"/>'
            '<linearGradient id="b"/><linearGradient id="c"/><path d="M0 0H9V9" fill="url(#a)"/>',
            'href="#b"',
        ),
    ],
)
def test_harmless_things_stay(body: str, kept: str) -> None:
    assert kept in load(svg(body)).svg


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ('<text dy=".5em">a</text>', 'dy="8"'),
        ('<g font-size="20"><text x="1em,2em" dy="1ex">a</text></g>', 'x="20 40" dy="10"'),
        ('<g font-size="20"><g font-size="150%"><text x="1em">a</text></g></g>', '<text x="30"'),
        ('<g font-size="2em"><text font-size=".5em" dx="1em">a</text></g>', 'font-size="16" dx="16"'),
        ('<g font-size="20"><text x="1rem">a</text></g>', '<text x="16"'),
        ('<g font-size="20"><circle r="1"/></g><text x="1em">a</text>', '<text x="16"'),
        ('<g style="font: large serif; font-size: x-large"><text x="1em">a</text></g>', '<text x="24"'),
        ('<path d="M0 0H9" stroke="red" stroke-dasharray="1em .5EM"/>', 'stroke-dasharray="16 8"'),
        ('<path d="M0 0H9" stroke="red" stroke-width="1e-1em"/>', 'stroke-width="1.6"'),
    ],
)
def test_lengths_relative_to_the_font_are_resolved(body: str, kept: str) -> None:
    assert kept in load(svg(body)).svg


def test_font_sizes_that_multiply_end_at_the_largest_number() -> None:
    drawing = load(svg('<g font-size="1000em">' * 90 + '<text x="1em">a</text>' + "</g>" * 90))
    assert "inf" not in drawing.svg
    assert "e+" not in drawing.svg


@pytest.mark.parametrize(
    ("body", "gone"),
    [
        ("<use/><use href='#none'/>", "<use"),
        ('<use id="a"/><use id="b" href="#a"/><rect width="9" height="9" fill="url(#b) red"/>', "url("),
        ('<g id="a"/><path id="a" d="M0 0H9"/><use href="#a"/>', '<path id="a"'),
        ('<style type="text/x-template">rect { fill: red }</style><rect width="9" height="9"/>', "red"),
        ('<g systemLanguage="fr"><rect width="9" height="9"/></g>', "<rect"),
    ],
)
def test_what_means_nothing_goes(body: str, gone: str) -> None:
    assert gone not in load(svg(body)).svg


def test_a_ring_of_gradients_is_cut_where_the_shape_comes_to_its_end() -> None:
    """The stops are reached before the ring closes; cut elsewhere, the shape would lose its colours."""
    drawing = load(
        svg(
            '<linearGradient id="a" href="#b"/><linearGradient id="b" href="#c"><stop stop-color="red"/>'
            '</linearGradient><linearGradient id="c" href="#a"/><path d="M0 0H9V9" fill="url(#c)"/>'
        )
    )
    assert '<linearGradient id="c" href="#a"' in drawing.svg
    assert '<linearGradient id="b">' in drawing.svg


def test_a_shape_that_refers_to_what_holds_it_loses_all_that_leads_nowhere() -> None:
    drawing = load(svg(f'<g id="a"><use href="#a" clip-path="url(#none)"/>{CIRCLE}</g>'))
    assert drawing.removed == ("reference cycle (1)",)
    shape = '<rect href="#a" clip-path="url(#none)" width="9" height="9"/>'
    assert "clip-path" not in load(svg(f'<g id="a">{shape}{CIRCLE}</g>')).svg


def test_text_in_a_million_pieces_is_read_in_time() -> None:
    started = time.monotonic()
    load(svg(f"<desc>{'a<!---->' * 400_000}</desc>{CIRCLE}"))
    assert time.monotonic() - started < 20
