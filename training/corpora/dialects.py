"""One drawing, many SVG texts: writes marks the way that different editors and hands would.

A dialect is drawn once per file, as real files are consistent: primitives or paths, attributes or
style or CSS classes, plain coordinates or transforms, its own number format and editor noise.
Nothing here carries the caption: ids, comments and metadata are the same for every drawing.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from training.corpora.marks import Curve, Ellipse, Label, Mark, Paint, Poly, Rect, Segment, moved, segments_of
from training.corpora.palette import Ink

Attributes = dict[str, str]

_HEIGHTS = (16, 24, 24, 32, 48, 64, 100, 100, 100, 128, 200, 256, 400, 512, 800, 1000)
_FONTS = ("sans-serif", "Arial, sans-serif", "Helvetica", "Verdana, sans-serif", "serif")
_HEADERS = (
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<?xml version="1.0" encoding="utf-8"?>\n<!-- Generator: Adobe Illustrator 24.0.1 -->',
    "<!-- Created with Inkscape (http://www.inkscape.org/) -->",
    '<?xml version="1.0" standalone="no"?>',
)
_SODIPODI = "http://sodipodi.sourceforge.net/DTD/sodipodi-0.dtd"
_INKSCAPE = "http://www.inkscape.org/namespaces/inkscape"
_EDITOR_NOISE = (
    "<defs/>",
    '<defs id="defs2"/>',
    '<sodipodi:namedview id="base" pagecolor="#ffffff" borderopacity="1.0" inkscape:zoom="1.4"/>',
    '<metadata id="metadata5">image/svg+xml</metadata>',
    "<!-- layer 1 -->",
    "<g/>",
)


@dataclass(frozen=True)
class Dialect:
    """The habits of one file."""

    scale: float  # file units per canvas unit
    left: float  # x of the viewBox
    top: float
    decimals: int
    paths: float  # share of shapes that are written as paths
    relative: bool  # lower-case path commands
    cubic_circles: bool  # paths draw circles as four cubics, not two arcs
    separator: str  # between the numbers of a pair: space or comma
    paint: str  # "attribute", "style", "class" or "group"
    colours: str  # "hex", "HEX", "rgb" or "keyword"
    placement: str  # "plain", "translate", "scale" or "group"
    size: str  # "viewbox", "both", "pixels" or "size only"
    editor: bool
    pretty: bool
    font: str


def draw_dialect(rng: random.Random) -> Dialect:
    height = rng.choice(_HEIGHTS)
    centred = rng.random() < 0.06
    return Dialect(
        scale=height / 100,
        left=-height / 2 if centred else 0,
        top=-height / 2 if centred else 0,
        decimals=2 if height < 100 else rng.choice((0, 1, 2)),
        paths=rng.choice((0.0, 0.0, 0.0, 0.3, 1.0)),
        relative=rng.random() < 0.5,
        cubic_circles=rng.random() < 0.3,
        separator=rng.choice((" ", ",")),
        paint=rng.choice(("attribute", "attribute", "attribute", "style", "class", "group")),
        colours=rng.choice(("hex", "hex", "HEX", "rgb", "keyword", "keyword")),
        placement=rng.choice(("plain",) * 6 + ("translate", "translate", "scale", "group")),
        size="both" if centred else rng.choice(("viewbox", "both", "both", "pixels", "size only")),
        editor=rng.random() < 0.2,
        pretty=rng.random() < 0.6,
        font=rng.choice(_FONTS),
    )


def write_svg(marks: Sequence[Mark], width: float, rng: random.Random) -> str:
    """SVG text of a drawing on a canvas `width` x 100, in a dialect drawn from `rng`."""
    return _Writer(draw_dialect(rng), rng).document(marks, width)


class _Writer:
    def __init__(self, dialect: Dialect, rng: random.Random) -> None:
        self._dialect = dialect
        self._rng = rng
        self._rules: list[str] = []  # CSS declarations; the class name is the index

    def document(self, marks: Sequence[Mark], width: float) -> str:
        dialect = self._dialect
        body = self._body(marks)
        if self._rules:
            rules = "".join(f".c{i}{{{rule}}}" for i, rule in enumerate(self._rules))
            body.insert(0, f"<style>{rules}</style>")
        if dialect.editor:
            body.insert(0, self._rng.choice(_EDITOR_NOISE))
        indent = "\n  " if dialect.pretty else ""
        header = self._rng.choice(_HEADERS) + "\n" if dialect.editor or self._rng.random() < 0.1 else ""
        root = _tag("svg", self._root(width * dialect.scale, 100 * dialect.scale), closed=False)
        return f"{header}{root}{indent}{indent.join(body)}{indent.rstrip(' ')}</svg>\n"

    def _root(self, width: float, height: float) -> Attributes:
        dialect, number = self._dialect, self._number
        attributes = {"xmlns": "http://www.w3.org/2000/svg"}
        if dialect.editor:
            attributes |= {
                "xmlns:sodipodi": _SODIPODI,
                "xmlns:inkscape": _INKSCAPE,
                "version": "1.1",
                "id": "svg8",
            }
        if dialect.size != "viewbox":
            unit = "px" if dialect.size == "pixels" else ""
            attributes |= {"width": number(width) + unit, "height": number(height) + unit}
        if dialect.size != "size only":
            box = (dialect.left, dialect.top, width, height)
            attributes["viewBox"] = " ".join(number(value) for value in box)
        return attributes

    def _body(self, marks: Sequence[Mark]) -> list[str]:
        dialect = self._dialect
        if dialect.placement == "scale":
            origin = (
                f"translate({self._number(dialect.left)} {self._number(dialect.top)}) "
                if dialect.left
                else ""
            )
            body = [self._element(mark) for mark in marks]
            return self._wrapped(body, f"{origin}scale({_decimal(dialect.scale, 4)})")
        placed = [moved(mark, dialect.scale, dialect.left, dialect.top) for mark in marks]
        if dialect.placement == "group":
            dx, dy = (self._rng.randint(-9, 9) * dialect.scale * 2 for _ in "xy")
            body = [self._element(moved(mark, 1, -dx, -dy)) for mark in placed]
            return self._wrapped(body, f"translate({self._number(dx)}{dialect.separator}{self._number(dy)})")
        if dialect.paint == "group":
            return self._by_paint(placed)
        return [self._element(mark) for mark in placed]

    def _wrapped(self, body: list[str], transform: str) -> list[str]:
        return [_tag("g", {"transform": transform}, closed=False), *body, "</g>"]

    def _by_paint(self, marks: Sequence[Mark]) -> list[str]:
        """Neighbours of one paint share a group that carries it."""
        body: list[str] = []
        previous: Paint | None = None
        for mark in marks:
            if mark.paint != previous:
                body += ["</g>"] * bool(body) + [_tag("g", self._paint(mark.paint), closed=False)]
                previous = mark.paint
            body.append(self._element(mark, painted=False))
        return [*body, "</g>"]

    def _element(self, mark: Mark, painted: bool = True) -> str:
        transform: Attributes = {}
        if self._dialect.placement == "translate":
            x, y = (round(value, self._dialect.decimals) for value in _centre(mark))
            mark = moved(mark, 1, -x, -y)
            transform = {"transform": f"translate({self._number(x)} {self._number(y)})"}
        name, shape, content = self._shape(mark)
        paint = self._painted(mark.paint) if painted else {}
        groups = [shape, paint, transform] if self._rng.random() < 0.7 else [paint, transform, shape]
        attributes = {key: value for group in groups for key, value in group.items()}
        if self._dialect.editor:
            attributes = {"id": f"{name}{self._rng.randint(10, 9999)}"} | attributes
        return _tag(name, attributes, content)

    def _shape(self, mark: Mark) -> tuple[str, Attributes, str]:
        """Element name, geometry attributes, text content."""
        geometry = mark.geometry
        if isinstance(geometry, Label):
            return "text", self._label(geometry), geometry.text
        if isinstance(geometry, Curve) or self._rng.random() < self._dialect.paths:
            return "path", {"d": self._path(geometry)}, ""
        return *self._primitive(geometry), ""

    def _primitive(self, geometry: Ellipse | Rect | Poly) -> tuple[str, Attributes]:
        number = self._number
        match geometry:
            case Ellipse(cx, cy, rx, ry) if rx == ry:
                return "circle", {"cx": number(cx), "cy": number(cy), "r": number(rx)}
            case Ellipse(cx, cy, rx, ry):
                return "ellipse", {"cx": number(cx), "cy": number(cy), "rx": number(rx), "ry": number(ry)}
            case Rect(x, y, width, height, radius):
                box = {"x": number(x), "y": number(y), "width": number(width), "height": number(height)}
                return "rect", box | ({"rx": number(radius)} if radius else {})
            case Poly(((x1, y1), (x2, y2)), False):
                return "line", {"x1": number(x1), "y1": number(y1), "x2": number(x2), "y2": number(y2)}
            case Poly(points, closed):
                pairs = (f"{number(x)}{self._dialect.separator}{number(y)}" for x, y in points)
                return "polygon" if closed else "polyline", {"points": " ".join(pairs)}

    def _label(self, label: Label) -> Attributes:
        baseline = label.cy + 0.35 * label.size
        attributes = {"x": self._number(label.cx), "y": self._number(baseline)}
        attributes |= {"font-size": self._number(label.size), "font-family": self._dialect.font}
        return attributes | {"text-anchor": "middle"} | ({"font-weight": "bold"} if label.bold else {})

    def _path(self, geometry: Ellipse | Rect | Poly | Curve) -> str:
        segments = segments_of(geometry)
        if isinstance(geometry, Ellipse) and self._dialect.cubic_circles:
            segments = _four_cubics(geometry)
        if self._dialect.relative:
            segments = _relative(segments, self._dialect.decimals)
        separator = " " if self._dialect.pretty else ""
        return separator.join(letter + self._numbers(numbers) for letter, numbers in segments)

    def _numbers(self, numbers: tuple[float, ...]) -> str:
        texts = [self._number(value) for value in numbers]
        joined = (self._dialect.separator if i % 2 == len(texts) % 2 else " " for i in range(1, len(texts)))
        return "".join(text + gap for text, gap in zip(texts, [*joined, ""], strict=True)) if texts else ""

    def _painted(self, paint: Paint) -> Attributes:
        if self._dialect.paint not in ("style", "class"):
            return self._paint(paint)
        declarations = ";".join(f"{key}:{value}" for key, value in self._paint(paint).items())
        if self._dialect.paint == "style":
            return {"style": declarations}
        if declarations not in self._rules:
            self._rules.append(declarations)
        return {"class": f"c{self._rules.index(declarations)}"}

    def _paint(self, paint: Paint) -> Attributes:
        fill = self._colour(paint.fill) if paint.fill else "none"
        attributes = {} if fill in ("#000000", "black") and not self._dialect.editor else {"fill": fill}
        if paint.stroke is not None:
            attributes |= {"stroke": self._colour(paint.stroke), "stroke-width": self._number(paint.width)}
        return attributes

    def _colour(self, ink: Ink) -> str:
        if self._dialect.colours == "keyword" and ink.keyword:
            return ink.keyword
        if self._dialect.colours == "rgb":
            return "rgb({}, {}, {})".format(*ink.rgb)
        text = "#{:02x}{:02x}{:02x}".format(*ink.rgb)
        return text.upper() if self._dialect.colours == "HEX" else text

    def _number(self, value: float) -> str:
        return _decimal(value, self._dialect.decimals if abs(value) >= 2 else max(2, self._dialect.decimals))


def _centre(mark: Mark) -> tuple[float, float]:
    match mark.geometry:
        case Ellipse(cx, cy) | Label(cx, cy):
            return cx, cy
        case Rect(x, y, width, height):
            return x + width / 2, y + height / 2
        case Poly(points):
            return points[0]
        case Curve(segments):
            x, y = segments[0][1]
            return x, y


def _four_cubics(ellipse: Ellipse) -> tuple[Segment, ...]:
    cx, cy, rx, ry = ellipse.cx, ellipse.cy, ellipse.rx, ellipse.ry
    kx, ky = rx * 0.5523, ry * 0.5523
    return (
        ("M", (cx, cy - ry)),
        ("C", (cx + kx, cy - ry, cx + rx, cy - ky, cx + rx, cy)),
        ("C", (cx + rx, cy + ky, cx + kx, cy + ry, cx, cy + ry)),
        ("C", (cx - kx, cy + ry, cx - rx, cy + ky, cx - rx, cy)),
        ("C", (cx - rx, cy - ky, cx - kx, cy - ry, cx, cy - ry)),
        ("Z", ()),
    )


def _relative(segments: Sequence[Segment], decimals: int) -> tuple[Segment, ...]:
    """Lower-case commands; offsets are taken between rounded points, so that errors do not add up."""
    written: list[Segment] = []
    x = y = start_x = start_y = 0.0
    for letter, numbers in segments:
        if letter == "Z":
            x, y = start_x, start_y
            written.append(("z", ()))
            continue
        fixed = numbers[:-2] if letter == "A" else ()
        pairs = [round(value, decimals) for value in numbers[len(fixed) :]]
        offsets = tuple(value - (y if i % 2 else x) for i, value in enumerate(pairs))
        x, y = pairs[-2], pairs[-1]
        if letter == "M":
            start_x, start_y = x, y
        written.append((letter.lower(), (*fixed, *offsets)))
    return tuple(written)


def _decimal(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def _tag(name: str, attributes: Attributes, content: str = "", closed: bool = True) -> str:
    text = f"<{name}" + "".join(f' {key}="{value}"' for key, value in attributes.items())
    if not closed:
        return text + ">"
    return f"{text}>{content}</{name}>" if content else text + "/>"
