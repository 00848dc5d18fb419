"""Files made to break a renderer, by family; `FILES` holds them all as `family: name` -> bytes."""

from __future__ import annotations

import base64
import gzip
import random
import struct
import zlib
from collections.abc import Callable

from tests.rendering.drawings import svg

SHAPE = '<rect x="10" y="10" width="80" height="80" fill="teal"/>'
LINKED = 'viewBox="0 0 100 100" xmlns:xlink="http://www.w3.org/1999/xlink"'
Family = dict[str, bytes]


def png(width: int, height: int, rows: int | None = None) -> str:
    """A valid grey PNG as a data URI; `rows` fewer than `height` leaves it cut short."""
    pixels = zlib.compress(b"\x00" * (width // 8 + 2) * (height if rows is None else rows), 9)
    header = struct.pack("!IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack("!I", len(body)) + kind + body + struct.pack("!I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def chain(element: str, count: int, attribute: str, tip: str = "", wrap: Callable[[str], str] = str) -> str:
    """`count` definitions each of which refers to the one before."""
    rows = (
        f'<{element} id="n{n}" {attribute.format(n - 1) if n else ""}>{wrap(str(n))}</{element}>'
        for n in range(count)
    )
    return "".join(rows) + tip


def entities() -> Family:
    def document(declarations: str, body: str = "<text>&a;</text>") -> bytes:
        return f'<!DOCTYPE svg [{declarations}]><svg viewBox="0 0 9 9">{body}</svg>'.encode()

    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    return {
        "billion laughs": document(f'<!ENTITY l0 "ha">{laughs}<!ENTITY a "&l11;">'),
        "quadratic blowup": document(f'<!ENTITY a "{"x" * 50_000}">', f"<text>{'&a;' * 5_000}</text>"),
        "recursive": document('<!ENTITY a "&b;"><!ENTITY b "&a;">'),
        "external file": document('<!ENTITY a SYSTEM "file:///etc/passwd">'),
        "external url": document('<!ENTITY a SYSTEM "{url}">'),
        "public id": document('<!ENTITY a PUBLIC "-//X//Y" "{url}">'),
        "parameter": document('<!ENTITY % p SYSTEM "{url}"> %p;'),
        "nested parameter": document("<!ENTITY % p '<!ENTITY &#37; q SYSTEM \"{url}\">'> %p; %q;"),
        "in an attribute": document('<!ENTITY a "red">', '<rect width="9" height="9" fill="&a;"/>'),
        "unparsed with notation": document(
            '<!NOTATION n SYSTEM "{url}"><!ENTITY a SYSTEM "{url}" NDATA n>', SHAPE
        ),
        "attribute defaults": document('<!ATTLIST rect onload CDATA "alert(1)" href CDATA "{url}">', SHAPE),
        "external dtd": b'<!DOCTYPE svg SYSTEM "{url}"><svg viewBox="0 0 9 9">' + SHAPE.encode() + b"</svg>",
        "dtd with a file": b'<!DOCTYPE svg SYSTEM "file:///dev/zero"><svg viewBox="0 0 9 9"/>',
        "ten thousand declarations": document("".join(f'<!ENTITY e{n} "x">' for n in range(10_000))),
        "element declarations": document("<!ELEMENT svg ((((((((((a?,b?)*)*)*)*)*)*)*)*)*)>", SHAPE),
    }


def references() -> Family:
    places = {
        "image": '<image href="{0}" width="9" height="9"/>',
        "image by xlink": '<image xlink:href="{0}" width="9" height="9"/>',
        "use": '<use href="{0}#a"/>',
        "use of a whole file": '<use xlink:href="{0}"/>',
        "gradient": '<linearGradient id="g" href="{0}#g"/><rect width="9" height="9" fill="url(#g)"/>',
        "fill": '<rect width="9" height="9" fill="url({0}#g)"/>',
        "quoted fill": "<rect width='9' height='9' fill='url(\"{0}#g\")'/>",
        "style attribute": '<rect width="9" height="9" style="fill:url({0}#g)"/>',
        "escaped style": '<rect width="9" height="9" style="fill:u\\72l({0}#g)"/>',
        "import": '<style>@import "{0}";</style>',
        "import by url": "<style>@import url({0}) screen;</style>",
        "font face": "<style>@font-face {{ font-family: f; src: url({0}) }}</style>"
        "<text font-family='f'>a</text>",
        "background image": "<style>rect {{ background: url({0}); fill: image-set(url({0}) 1x) }}</style>"
        + SHAPE,
        "filter image": '<filter id="f"><feImage href="{0}"/></filter>'
        '<rect width="9" height="9" filter="url(#f)"/>',
        "filter reference": '<rect width="9" height="9" filter="url({0}#f)"/>',
        "mask": '<rect width="9" height="9" mask="url({0}#m)"/>',
        "clip path": '<rect width="9" height="9" clip-path="url({0}#c)"/>',
        "marker": '<path d="M0 0L9 9" marker-end="url({0}#m)"/>',
        "cursor": '<rect width="9" height="9" cursor="url({0})"/>',
        "script": '<script href="{0}"/>',
        "foreign object": '<foreignObject width="9" height="9"><iframe src="{0}"/></foreignObject>',
        "animation": '<rect width="9" height="9"><set attributeName="href" to="{0}"/></rect>',
        "animated image": '<image width="9" height="9"><animate attributeName="href" values="{0}"/></image>',
        "xinclude": '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="{0}"/>',
        "text path": '<text><textPath href="{0}#p">a</textPath></text>',
        "tref": '<text><tref href="{0}#t"/></text>',
        "colour profile": '<color-profile name="p" href="{0}"/>'
        '<rect width="9" height="9" fill="red icc-color(p)"/>',
        "link": '<a href="{0}"><rect width="9" height="9"/></a>',
        "base": '<g xml:base="{0}"><image href="x.png" width="9" height="9"/></g>',
        "nested data": '<image width="9" height="9" '
        "href=\"data:image/svg+xml,%3Csvg%3E%3Cimage href='{0}'/%3E%3C/svg%3E\"/>",
    }
    found = {
        f"{name}, {kind}": svg(body.format(target), LINKED)
        for name, body in places.items()
        for kind, target in (("url", "{url}"), ("pipe", "file://{pipe}"))
    }
    style = b'<?xml-stylesheet type="text/css" href="{url}"?><?xml-stylesheet type="text/xsl" href="{url}"?>'
    return found | {
        "stylesheet instruction": style + svg(SHAPE),
        "path": svg('<image href="{pipe}" width="9" height="9"/>'),
    }


def cycles() -> Family:
    rect = '<rect width="9" height="9" {}/>'

    def quadruple(n: int) -> str:
        return rect.format(f'fill="url(#n{n})"') * 4

    doubling = "".join(
        f'<g id="n{n}"><use href="#n{n - 1}"/><use href="#n{n - 1}"/></g>' for n in range(1, 40)
    )
    kinds = {
        "pattern": ('<pattern id="a" width="9" height="9">{0}</pattern>', "fill"),
        "mask": ('<mask id="a">{0}</mask>', "mask"),
        "clipPath": ('<clipPath id="a">{0}</clipPath>', "clip-path"),
        "marker": ('<marker id="a"><path d="M0 0L9 9" marker-end="url(#a)"/>{0}</marker>', "marker-start"),
        "filter": ('<filter id="a"><feFlood/></filter><g id="b">{0}</g>', "filter"),
    }
    found = {
        f"{name} in itself": svg(
            body.format(rect.format(f'{paint}="url(#a)"')) + rect.format(f'{paint}="url(#a)"')
        )
        for name, (body, paint) in kinds.items()
    }
    return found | {
        "use of itself": svg('<use id="a" href="#a"/>'),
        "use of its parent": svg(f'<g id="a">{SHAPE}<use href="#a"/></g>'),
        "two uses of each other": svg(
            '<g id="a"><use href="#b"/></g><g id="b"><use href="#a"/></g><use href="#a"/>'
        ),
        "use of the root": svg('<use href="#a"/>', 'viewBox="0 0 9 9" id="a"'),
        "use without a target": svg("<use/><text>a</text>"),
        "use of nothing": svg('<use href="#"/><use href=""/>'),
        "doubling": svg(f'<g id="n0">{SHAPE}</g>{doubling}<use href="#n39"/>'),
        "doubling symbols": svg(
            doubling.replace("<g ", "<symbol ").replace("</g>", "</symbol>") + '<use href="#n39"/>'
        ),
        "gradient ring": svg(
            chain("linearGradient", 9, 'href="#n{}"').replace('id="n0" ', 'id="n0" href="#n8" ')
            + rect.format('fill="url(#n4)"')
        ),
        "long gradient chain": svg(
            chain("linearGradient", 5_000, 'href="#n{}"') + rect.format('fill="url(#n4999)"')
        ),
        "long use chain": svg(
            chain("g", 3_000, "", wrap=lambda n: f'<use href="#n{int(n) - 1}"/>') + '<use href="#n2999"/>'
        ),
        "clip chain": svg(
            chain("clipPath", 1_000, 'clip-path="url(#n{})"', wrap=lambda _: SHAPE)
            + rect.format('clip-path="url(#n999)"')
        ),
        "mask chain": svg(
            chain("mask", 300, "", wrap=lambda n: rect.format(f'mask="url(#n{int(n) - 1})"'))
            + rect.format('mask="url(#n299)"')
        ),
        "pattern tree": svg(
            "".join(
                f'<pattern id="n{n}" width="1" height="1">{quadruple(n - 1)}</pattern>' for n in range(30)
            )
            + rect.format('fill="url(#n29)"')
        ),
        "marker on every point of a marker": svg(
            '<marker id="a"><path d="M0 0'
            + "l1 1" * 2_000
            + '"/></marker><path marker-mid="url(#a)" d="M0 0'
            + "l1 1" * 2_000
            + '"/>'
        ),
        "one id many times": svg('<g id="a">' * 50 + "</g>" * 50 + '<use href="#a"/>' * 500),
    }


def sizes() -> Family:
    values = (
        "0",
        "-1",
        "1e-30",
        "1e9",
        "1e30",
        "1e308",
        "1e999",
        "nan",
        "inf",
        "%",
        "9" * 400,
        "0x10",
        "1e",
        "--1",
        "٣",
    )
    found = {f"canvas of {value[:12]}": svg(SHAPE, f'width="{value}" height="{value}"') for value in values}
    found |= {
        f"box of {value[:12]}": svg(SHAPE, f'viewBox="{value} {value} {value} {value}"')
        for value in values[2:9]
    }
    found |= {
        f"stroke of {value[:12]}": svg(f'<path d="M9 9L90 90" stroke="red" stroke-width="{value}"/>')
        for value in values[2:9]
    }
    return found | {
        "a thousand to one": svg(SHAPE, 'width="1000000" height="0.001"'),
        "huge scale": svg(f'<g transform="scale(1e15)">{SHAPE}</g>'),
        "scales that multiply": svg('<g transform="scale(1e6)">' * 60 + SHAPE + "</g>" * 60),
        "singular matrix": svg(f'<g transform="matrix(1 1 1 1 0 0)">{SHAPE}</g>'),
        "negative rect": svg('<rect width="-9" height="9"/><circle r="-9"/><ellipse rx="-1" ry="1e20"/>'),
        "huge font": svg('<text font-size="1e9">a</text><text font-size="-5">b</text>'),
        "round corners": svg('<rect width="9" height="9" rx="1e308" ry="1e-308"/>'),
    }


def paths() -> Family:
    def path(d: str, more: str = 'stroke="red"') -> bytes:
        return svg(f'<path d="{d}" {more}/>')

    return {
        "a hundred thousand lines": path("M0 0" + "l1 1" * 100_000),
        "as many arcs as a file may have": path("M0 0" + "a1 2 3 0 1 4 5" * 39_999),
        "half a million moves": path("M0 0 " * 200_000),
        "closing only": path("M0 0" + "z" * 50_000),
        "numbers after z": path("M0 0L9 9z5 5"),
        "no first move": path("L9 9 10 10"),
        "tiny arc": path("M0 0A1e-300 1e300 0 1 1 1e300 1e-300"),
        "arc to itself": path("M5 5A9 9 0 1 1 5 5 9 9 0 0 0 5 5"),
        "smooth without curve": path("M5 5T9 9 1 1S3 3 4 4T1 2"),
        "dots and signs": path("M" + "." * 5_000 + "-" * 5_000),
        "exponents": path("M0 0L1e400-1e400 1e-400 5e"),
        "unfinished": path("M0 0L5"),
        "flags": path("M0 0A5 5 0 2 3 9 9"),
        "fine dashes": path("M0 0H100", 'stroke="red" stroke-dasharray="1e-7 1e-7"'),
        "fine dashes, many": path("M0 0H100", f'stroke="red" stroke-dasharray="{"0.01 " * 10_000}"'),
        "dashes of nothing": path("M0 0H100", 'stroke="red" stroke-dasharray="0 0" stroke-dashoffset="1e9"'),
        "negative dashes": path("M0 0H100", 'stroke="red" stroke-dasharray="-1 5"'),
        "dashes on a huge line": path("M-9e6 0H9e6", 'stroke="red" stroke-dasharray=".02"'),
        "ten thousand points": svg(f'<polygon points="{"1 2 " * 100_000}"/>'),
        "commas": svg(f'<polyline points="{"," * 100_000}"/>'),
        "wild curves": path("M0 0" + "C9e6 -9e6 -9e6 9e6 5 5" * 5_000, 'stroke="red" stroke-width="30"'),
    }


def nesting() -> Family:
    return {
        f"{tag}, {depth} deep": svg(f"<{tag}>" * depth + f"</{tag}>" * depth)
        for tag in ("g", "svg", "a", "text", "tspan", "switch", "pattern", "unknown")
        for depth in (90, 50_000)
    } | {
        "never closed": b'<svg xmlns="http://www.w3.org/2000/svg">' + b"<g>" * 200_000,
        "groups with opacity": svg('<g opacity=".9">' * 95 + SHAPE + "</g>" * 95),
        "groups with clips": svg(
            '<clipPath id="c"><rect width="9" height="9"/></clipPath>'
            + '<g clip-path="url(#c)">' * 90
            + SHAPE
            + "</g>" * 90
        ),
        "twenty thousand siblings": svg("<g/>" * 19_000),
    }


def filters() -> Family:
    def filtered(primitives: str, attributes: str = "") -> bytes:
        return svg(f'<filter id="f" {attributes}>{primitives}</filter><g filter="url(#f)">{SHAPE}</g>')

    return {
        "wide blur": filtered('<feGaussianBlur stdDeviation="1e9"/>'),
        "many blurs": filtered('<feGaussianBlur stdDeviation="50"/>' * 1_000),
        "many octaves": filtered('<feTurbulence numOctaves="1000000000" baseFrequency=".01"/>'),
        "wide erosion": filtered('<feMorphology radius="100000"/>'),
        "large kernel": filtered(f'<feConvolveMatrix order="100" kernelMatrix="{"1 " * 10_000}"/>'),
        "huge region": filtered("<feFlood/>", 'x="-1e6" y="-1e6" width="1e9" height="1e9"'),
        "long table": filtered(
            f'<feComponentTransfer><feFuncR type="table" tableValues="{"0 1 " * 50_000}"/>'
            "</feComponentTransfer>"
        ),
        "offset of nothing": filtered('<feOffset dx="nan" dy=""/>'),
        "blend without input": filtered("<feBlend/><feMerge><feMergeNode/></feMerge><feTile/>"),
        "filter on every group": svg(
            '<filter id="f"><feGaussianBlur stdDeviation="5"/></filter>'
            + '<g filter="url(#f)">' * 80
            + SHAPE
            + "</g>" * 80
        ),
    }


def rasters() -> Family:
    def image(href: str, copies: int = 1) -> bytes:
        return svg(f'<image width="50" height="50" href="{href}"/>' * copies)

    gif = base64.b64encode(b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + b"\x00\x00\x00,").decode()
    return {
        "100 megapixels": image(png(10_000, 10_000)),
        "400 megapixels": image(png(20_000, 20_000)),
        "long and thin": image(png(1_000_000, 1)),
        "cut short": image(png(1_000, 1_000, rows=5)),
        "many": image(png(9, 9), 500),
        "many large ones": image(png(3_000, 3_000), 8),
        "no base64": image("data:image/png;base64,@@@@"),
        "another type": image("data:image/jpeg;base64," + png(9, 9).partition(",")[2]),
        "a huge GIF": image(f"data:image/gif;base64,{gif}"),
        "EPS": image(
            "data:image/png;base64,"
            + base64.b64encode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n").decode()
        ),
        "an SVG": image("data:image/svg+xml;base64," + base64.b64encode(svg(SHAPE)).decode()),
        "text": image("data:text/html,<script>alert(1)</script>".replace("<", "&lt;")),
        "preserveAspectRatio": svg(
            f'<image width="1e9" height="1e-9" preserveAspectRatio="xMidYMid slice" href="{png(9, 9)}"/>'
        ),
    }


def sheets() -> Family:
    def sheet(css: str) -> bytes:
        return svg(
            f'<style>{css}</style><rect class="a" width="9" height="9"/>' + '<g class="a">' * 50 + "</g>" * 50
        )

    return {
        "many rules": sheet(".a{fill:red}" * 20_000),
        "long selector": sheet("g " * 20_000 + "{fill:red}"),
        "deep selector": sheet("g>" * 3_000 + "g{fill:red}"),
        "sibling selectors": sheet("*~*~*~*~*~*~*~*{fill:red}" * 200),
        "not of not": sheet(":not(" * 2_000 + "g" + ")" * 2_000 + "{fill:red}"),
        "attribute selectors": sheet('[class*="a"][class^="a"][class$="a"]{fill:red}' * 1_500),
        "many declarations": sheet(f".a{{{'fill:red;' * 20_000}}}"),
        "open brackets": sheet("(" * 50_000),
        "open braces": sheet("a{" * 30_000),
        "open comment": sheet("/*" * 30_000),
        "open string": sheet('.a{fill:"' + "x" * 50_000),
        "open url": sheet("url(" * 10_000),
        "escapes": sheet(r"\66 " * 20_000 + "{fill:red}"),
        "nested at-rules": sheet("@media screen{" * 2_000 + "}" * 2_000),
        "nested rules": sheet(".a{&amp;:hover{" * 2_000),
        "variables": sheet(".a{--a:var(--a);fill:var(--a)}"),
        "calc": sheet(f".a{{stroke-width:calc({'(' * 5_000}1{')' * 5_000})}}"),
        "long style attribute": svg(f'<rect style="{"fill:red;" * 50_000}"/>'),
        "important everywhere": sheet(".a{fill:red!important;}" * 1_000),
    }


def backtracking() -> Family:
    long = 50_000
    return {
        "spaces in a colour": svg(f'<rect width="9" height="9" fill="rgb({" " * long}1"/>'),
        "commas in a colour": svg(f'<rect width="9" height="9" fill="rgb({"1," * long}"/>'),
        "brackets in a transform": svg(f'<g transform="{"rotate(" * long}">{SHAPE}</g>'),
        "spaces in a transform": svg(f'<g transform="translate(1{" " * long}">{SHAPE}</g>'),
        "many transforms": svg(f'<g transform="{"rotate(1) " * long}">{SHAPE}</g>'),
        "signs in numbers": svg(f'<rect width="{"+" * long}9"/>'),
        "digits": svg(f'<rect width="{"9" * long}" height="9"/>'),
        "spaces in url": svg(f'<rect width="9" height="9" fill="url({" " * long}#a{" " * long}"/>'),
        "data uri": svg(f'<image href="data:image/png;{"base64," * long}"/>'),
        "long name": svg(f"<{'a' * long}/>" + SHAPE),
        "long attribute": svg(f'<g {"a" * long}="1"/>' + SHAPE),
        "long id": svg(f'<g id="{"a" * long}"/><use href="#{"a" * long}"/>'),
        "entity-like text": svg("<text>" + "&amp;" * long + "</text>"),
        "comments cut text": svg("<text>" + "a<!---->" * long + "</text>"),
        "font list": svg(f'<text font-family="{"a," * long}">a</text>'),
    }


def encodings() -> Family:
    text = svg("<text>héllo</text>" + SHAPE).decode()
    found = {
        f"declared {name}": f'<?xml version="1.0" encoding="{name}"?>{text}'.encode()
        for name in ("utf-16", "utf-32", "klingon", "utf-7", "ebcdic-cp-us", "ascii", "")
    }
    found |= {f"cut after {n}": text.encode()[:n] for n in (1, 4, 5, 20, 45, 60, len(text) - 3)}
    return found | {
        "null bytes": text.replace("rect", "re\x00ct").encode(),
        "utf-8 cut in a letter": text.encode().replace("é".encode(), b"\xc3"),
        "overlong utf-8": text.encode().replace(b"h", b"\xc1\xa8"),
        "surrogates": text.encode().replace("é".encode(), b"\xed\xa0\x80"),
        "two marks": b"\xef\xbb\xbf\xef\xbb\xbf" + text.encode(),
        "utf-16 without mark": text.encode("utf-16-le"),
        "utf-16 cut": text.encode("utf-16")[:-1],
        "control characters": text.replace("h", "\x01\x1f").encode(),
        "gzip bomb": gzip.compress(b" " * (200 << 20)),
        "gzip in gzip": gzip.compress(gzip.compress(text.encode())),
        "gzip cut": gzip.compress(text.encode())[:-9],
        "gzip and junk": gzip.compress(text.encode()) + b"junk" * 1_000,
        "zeros": b"\x00" * 100_000,
        "noise": random.Random(1).randbytes(50_000),
    }


def words() -> Family:
    return {
        "long line": svg(f"<text>{'W' * 15_000}</text>"),
        "too much": svg(f"<text>{'W' * 100_000}</text>"),
        "many spans": svg("<text>" + "<tspan>a</tspan>" * 5_000 + "</text>"),
        "positions": svg(f'<text x="{"1 " * 5_000}">{"a" * 5_000}</text>'),
        "rotations": svg(f'<text rotate="{"9 " * 5_000}">{"a" * 500}</text>'),
        "text path": svg(
            '<path id="p" d="M0 0'
            + "l1 1" * 3_000
            + f'"/><text><textPath href="#p">{"a" * 5_000}</textPath></text>'
        ),
        "text path in a ring": svg('<text><textPath id="p" href="#p">a</textPath></text>'),
        "stacked marks": svg("<text>" + "a" + "\u0300" * 10_000 + "</text>"),
        "right to left": svg("<text direction='rtl'>" + "\u202e\u202d\u2066" * 2_000 + "</text>"),
        "emoji": svg("<text>" + "\U0001f468\u200d" * 2_000 + "</text>"),
        "unknown font": svg("<text font-family=\"'../../etc/passwd', serif\">a</text>"),
        "markup in text": svg("<text>&lt;script&gt;alert(1)&lt;/script&gt;</text>"),
        "wide spacing": svg('<text letter-spacing="1e9" word-spacing="-1e9" textLength="1e-9">a b</text>'),
    }


def soup() -> Family:
    def broken(seed: int) -> bytes:
        rng = random.Random(seed)
        pieces = [
            "<",
            ">",
            "/",
            "=",
            '"',
            "'",
            "&",
            "]]>",
            "<![CDATA[",
            "<!--",
            "-->",
            "<?",
            "?>",
            "<svg",
            "<g",
            "</g>",
            "rect",
            " xmlns:a",
            "#",
            ";",
            "x",
            "1e9",
            "\n",
        ]
        return b'<svg xmlns="http://www.w3.org/2000/svg">' + "".join(rng.choices(pieces, k=2_000)).encode()

    found = {f"pieces {seed}": broken(seed) for seed in range(8)}
    return found | {
        "html": b"<!doctype html><html><body><svg><rect/></svg></body></html>",
        "two roots": svg(SHAPE) * 2,
        "svg of another namespace": b'<svg xmlns="urn:other"><rect/></svg>',
        "unbound prefix": svg("<a:b c:d='e'/>" + SHAPE),
        "rebound prefix": svg('<g xmlns:a="http://www.w3.org/2000/svg"><a:rect width="9" height="9"/></g>'),
        "same attribute twice": svg('<rect width="9" width="8"/>'),
        "open cdata": svg("<style><![CDATA[" + SHAPE),
        "many comments": svg("<!-- a -->" * 50_000 + SHAPE),
        "many instructions": svg("<?a b?>" * 50_000 + SHAPE),
        "many namespaces": svg("".join(f'<g xmlns:n{n}="urn:{n}" n{n}:a="1"/>' for n in range(5_000))),
        "a thousand attributes": svg("<g " + " ".join(f"a{n}=''" for n in range(1_000)) + "/>"),
        "handlers": svg(
            '<g onload="alert(1)" OnClick="alert(1)"><rect onfocus="x" width="9" height="9"/></g>'
        ),
        "javascript": svg(
            '<a href="javascript:alert(1)"><rect width="9" height="9" fill="javascript:x"/></a>'
        ),
        "html inside": svg(
            '<foreignObject><div xmlns="http://www.w3.org/1999/xhtml"><script>x</script></div></foreignObject>'
        ),
    }


FAMILIES: dict[str, Callable[[], Family]] = {
    "entities and DTD": entities,
    "external references": references,
    "cycles and expansion": cycles,
    "sizes and numbers": sizes,
    "path and dash bombs": paths,
    "nesting": nesting,
    "filters": filters,
    "raster bombs": rasters,
    "CSS bombs": sheets,
    "regular-expression traps": backtracking,
    "encodings and truncation": encodings,
    "fonts and text": words,
    "markup soup": soup,
}


def files(url: str, pipe: str) -> dict[str, bytes]:
    """All files; `{url}` and `{pipe}` in them are replaced by what must not be asked for."""
    return {
        f"{family}: {name}": data.replace(b"{url}", url.encode()).replace(b"{pipe}", pipe.encode())
        for family, make in FAMILIES.items()
        for name, data in make().items()
    }
