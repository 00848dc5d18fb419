"""One short text form of a drawing, for the prompt of a language model.

Two files that draw the same with the same elements get nearly the same text: styles are resolved to
where they apply, groups and transforms are folded into the shapes, invisible things, names and
editors' data are gone, and coordinates are whole numbers on a grid of 1,000 units. Words that would
give the answer away (title, desc, class, id) never reach the text. Shapes stay what they are.

Drawings with patterns, filters, markers, symbols or nested drawings keep their structure and get
only the simple rewrites (`_tidy`).
"""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from rendering import css
from rendering.colors import short_color
from rendering.document import Drawing
from rendering.fold import GEOMETRY, fold, format_matrix, gradient, is_drawn
from rendering.geometry import IDENTITY, Matrix, length, multiply, numbers, parse_transform, short
from rendering.paths import absolute, format_path, parse_path

CANONICALIZER_VERSION = "4"
GRID = 1000  # units along the longer side

_LEAVES = frozenset("path rect circle ellipse line polyline polygon text image".split())
_STRUCTURED = frozenset("pattern filter marker symbol textPath switch".split())
_SERVERS = frozenset(["linearGradient", "radialGradient", "clipPath", "mask"])
_DEFINITIONS = _SERVERS | {"defs", "pattern", "filter", "marker", "symbol"}
_WORDS = frozenset(["title", "desc", "metadata"])
_NOT_DRAWN = _SERVERS | _WORDS | {"defs"}
_OPACITY_OF = {"fill": "fill-opacity", "stroke": "stroke-opacity", "stop-color": "stop-opacity"}
_GROUP_EFFECTS = ("opacity", "clip-path", "mask")
_DROPPED = frozenset(
    (
        "id text-rendering shape-rendering image-rendering color-interpolation isolation mix-blend-mode "
        "overflow enable-background vector-effect direction writing-mode font-stretch font-variant "
        "paint-order"
    ).split()
)
_DEFAULTS = {
    "fill": "#000",
    "stroke": "none",
    "opacity": "1",
    "fill-opacity": "1",
    "stroke-opacity": "1",
    "stroke-linecap": "butt",
    "stroke-linejoin": "miter",
    "stroke-miterlimit": "4",
    "stroke-dashoffset": "0",
    "fill-rule": "nonzero",
    "clip-rule": "nonzero",
    "font-style": "normal",
    "font-weight": "normal",
    "text-anchor": "start",
    "letter-spacing": "normal",
    "word-spacing": "normal",
    "visibility": "visible",
    "display": "inline",
    "marker-start": "none",
    "marker-mid": "none",
    "marker-end": "none",
}
_NEUTRAL = {
    "opacity": "1",
    "stop-opacity": "1",
    "clip-path": "none",
    "mask": "none",
    "filter": "none",
    "transform": "translate(0 0)",
    "patternTransform": "translate(0 0)",
    "gradientTransform": "translate(0 0)",
}
"""What properties that are not inherited say when they say nothing."""
_NUMERIC = ("stroke-miterlimit", "stroke-dashoffset")
_MAX_SCALE = 1e12  # beyond it nothing of a shape can be in the picture
_RELATIVE_UNITS = ("em", "ex", "rem", "vw", "vh")
_URL = re.compile(r"url\(#([^)]+)\)")
_FONT = frozenset(
    "font-family font-size font-style font-weight text-anchor letter-spacing word-spacing".split()
)


def canonicalize(drawing: Drawing, *, keep_words: bool = False) -> str:
    """The canonical text of a drawing: deterministic, and the canonical text of itself.

    The text has no `xmlns`, width or height: it is an SVG fragment as HTML allows it. `keep_words` keeps
    the drawing's own title and desc; a model that is trained or judged must never see them.
    """
    root = _parse(drawing.svg.replace(' xmlns="http://www.w3.org/2000/svg"', "", 1))
    text = _rewrite(root, drawing.width, drawing.height, keep_words)
    # Rounding can bring out what a second look shortens.
    seen: list[str] = []
    while text not in seen:
        seen.append(text)
        root = _parse(text)
        _, _, width, height = numbers(root.attrib["viewBox"])
        text = _rewrite(root, width, height, keep_words)
    return min(seen[seen.index(text) :])


def _parse(text: str) -> Element:
    return ElementTree.fromstring(text)  # noqa: S314  # sanitized


def _rewrite(root: Element, width: float, height: float, keep_words: bool) -> str:
    words = list(_own_words(root)) if keep_words else []
    _prune(root)
    box = numbers(root.get("viewBox", ""))
    if _is_structured(root):
        result = _tidy(root, max(box[2], box[3]))
    else:
        result = _Folder(root, width, height, box).run()
    result[:0] = words
    return _serialize(result)


def _own_words(root: Element) -> Iterator[Element]:
    """The drawing's title and desc: the first of each that stands directly in it and says something."""
    for tag in ("title", "desc"):
        texts = (" ".join("".join(child.itertext()).split()) for child in root if child.tag == tag)
        if text := next(filter(None, texts), ""):
            word = Element(tag)
            word.text = text
            yield word


def _prune(root: Element) -> None:
    """Takes away definitions that nothing drawn refers to, directly or through others."""
    by_id = {element.get("id", ""): element for element in root.iter() if "id" in element.attrib}
    reached: set[Element] = set()

    def reach(element: Element) -> None:
        for name, value in element.attrib.items():
            target = by_id.get(_target(name, value) or "")
            if target is not None and target not in reached:
                reached.add(target)
                reach(target)
        for child in element:
            if child.tag not in _DEFINITIONS:
                reach(child)

    reach(root)
    for parent in list(root.iter()):
        for child in list(parent):
            if (child.tag in _DEFINITIONS or parent.tag == "defs") and reached.isdisjoint(child.iter()):
                parent.remove(child)


def _is_structured(root: Element) -> bool:
    tags = {element.tag for element in root.iter()}
    nested = any(element.tag == "svg" for element in root.iter() if element is not root)
    values = (value for element in root.iter() for value in element.attrib.values())
    return bool(tags & _STRUCTURED) or nested or any(value.endswith(_RELATIVE_UNITS) for value in values)


class _Folder:
    """Rebuilds a drawing as a flat list of shapes on the grid."""

    def __init__(self, root: Element, width: float, height: float, box: list[float]) -> None:
        self.root = root
        self.box = (box[2], box[3])  # what percentages refer to
        self.by_id = {element.get("id", ""): element for element in root.iter() if "id" in element.attrib}
        scale = GRID / max(width, height)
        self.size = (round(width * scale), round(height * scale))
        to_viewport = _viewbox_matrix(box, width, height, root.get("preserveAspectRatio", ""))
        self.grid: Matrix = multiply((scale, 0, 0, scale, 0, 0), to_viewport)
        self.is_clip = False  # whether what is drawn now is the outline of a clip path: no paint counts
        self.servers: dict[str, str] = {}  # serialized definition -> its new id
        self.definitions: list[Element] = []

    def run(self) -> Element:
        result = Element("svg", {"viewBox": f"0 0 {max(self.size[0], 1)} {max(self.size[1], 1)}"})
        shapes = list(self._draw(self.root, self.grid, {}))
        result.extend(shapes)
        _hoist(result)
        if self.definitions:
            definitions = Element("defs")
            definitions.extend(_in_order(self.definitions, result))
            result.insert(0, definitions)
        _rename_ids(result)
        return result

    def _draw(self, element: Element, matrix: Matrix, inherited: dict[str, str]) -> Iterator[Element]:
        """The shapes that `element` draws, in `matrix`' coordinates, with every property written out."""
        own = {
            name: value
            for name, value in element.attrib.items()
            if name in css.PROPERTIES and value != "inherit"
        }
        if own.get("display") == "none" or own.get("opacity") == "0" or element.tag in _NOT_DRAWN:
            return
        matrix = multiply(matrix, parse_transform(element.get("transform", "")) or IDENTITY)
        if not all(abs(value) <= _MAX_SCALE for value in matrix):  # not a number compares false, too
            return
        properties = inherited | {name: value for name, value in own.items() if name in css.INHERITED}
        effects = {name: own[name] for name in _GROUP_EFFECTS if own.get(name, "none") not in ("none", "1")}
        if element.tag in _LEAVES:
            yield from self._leaf(element, matrix, properties | effects)
        elif element.tag == "use":
            target = self.by_id.get(element.get("href", "#")[1:])
            if target is not None:
                x, y = length(element.get("x"), self.box[0]), length(element.get("y"), self.box[1])
                moved = multiply(matrix, (1, 0, 0, 1, x or 0, y or 0))
                yield from self._group(self._draw(target, moved, properties), effects, matrix)
        else:
            drawn = (shape for child in element for shape in self._draw(child, matrix, properties))
            yield from self._group(drawn, effects, matrix)

    def _group(self, shapes: Iterator[Element], effects: dict[str, str], matrix: Matrix) -> Iterator[Element]:
        """A group is kept only where it does something to its shapes as a whole."""
        if not effects:
            yield from shapes
            return
        children = list(shapes)
        if not children:
            return
        effects = self._point_to_servers(effects, matrix)
        if len(children) == 1 and not {"transform", *effects} & set(children[0].attrib):
            children[0].attrib.update(effects)
            yield children[0]
            return
        group = Element("g", effects)
        group.extend(children)
        yield group

    def _leaf(self, element: Element, matrix: Matrix, properties: dict[str, str]) -> Iterator[Element]:
        visible = _outline_only(properties) if self.is_clip else _paint_only(element.tag, properties)
        if visible is None:
            return
        properties = visible
        shape = Element(element.tag)
        boxed = any("url(" in value for value in properties.values())
        applied = fold(element, shape, matrix, self.box, properties, fixed_axes=boxed)
        if not is_drawn(shape):
            return
        if shape.tag != element.tag:
            properties = {
                name: value for name, value in properties.items() if not _is_idle(shape.tag, name, properties)
            }
        for name, value in self._point_to_servers(properties, applied).items():
            shape.set(name, value)
        yield shape

    def _point_to_servers(self, properties: dict[str, str], matrix: Matrix) -> dict[str, str]:
        """Replaces url(#id) by a definition in the new coordinates; one that is missing paints nothing."""
        result = {}
        for name, value in sorted(properties.items()):  # the order in which definitions are met
            match = _URL.match(value)
            if match is None:
                result[name] = value
                continue
            target = self.by_id.get(match[1])
            if target is not None and target.tag in _SERVERS:
                result[name] = f"url(#{self._server(target, matrix)})"
            elif name in ("fill", "stroke"):
                result[name] = "none"
        return result

    def _server(self, target: Element, matrix: Matrix) -> str:
        if target.tag in ("linearGradient", "radialGradient"):
            definition = gradient(target, self.by_id, matrix, self.box)
            for stop in definition:
                _shorten_colors(stop.attrib)
        else:
            definition = self._clip_or_mask(target, matrix)
        key = _serialize(definition)
        if key not in self.servers:
            self.servers[key] = _identifier(len(self.servers))
            definition.set("id", self.servers[key])
            self.definitions.append(definition)
        return self.servers[key]

    def _clip_or_mask(self, target: Element, matrix: Matrix) -> Element:
        units = "clipPathUnits" if target.tag == "clipPath" else "maskContentUnits"
        result = Element(target.tag)
        boxed = target.get(units) == "objectBoundingBox"
        if boxed:
            result.set(units, "objectBoundingBox")
        if target.get("mask-type") == "alpha":
            result.set("mask-type", "alpha")
        own = parse_transform(target.get("transform", "")) or IDENTITY
        inner = IDENTITY if boxed else multiply(matrix, own)
        inherited = {name: value for name, value in target.attrib.items() if name in css.INHERITED}
        self.is_clip, outer = target.tag == "clipPath", self.is_clip
        for child in target:
            result.extend(self._draw(child, inner, inherited))
        self.is_clip = outer
        return result


def _in_order(definitions: list[Element], root: Element) -> list[Element]:
    """Definitions in the order in which the drawing comes to need them."""
    by_id = {definition.attrib["id"]: definition for definition in definitions}
    found: dict[str, Element] = {}

    def visit(element: Element) -> None:
        for part in element.iter():
            for _, value in sorted(part.attrib.items()):
                match = _URL.match(value)
                if match and match[1] not in found:
                    found[match[1]] = by_id[match[1]]
                    visit(by_id[match[1]])

    visit(root)
    return list(found.values())


def _viewbox_matrix(box: list[float], width: float, height: float, aspect: str) -> Matrix:
    """From viewBox to viewport coordinates (SVG 1.1, section 7.8)."""
    sx, sy = width / box[2], height / box[3]
    if "none" in aspect:
        return (sx, 0, 0, sy, -box[0] * sx, -box[1] * sy)
    scale = max(sx, sy) if "slice" in aspect else min(sx, sy)
    shares = {"Min": 0.0, "Mid": 0.5, "Max": 1.0}
    x_share = next((share for key, share in shares.items() if f"x{key}" in aspect), 0.5)
    y_share = next((share for key, share in shares.items() if f"Y{key}" in aspect), 0.5)
    dx, dy = (width - box[2] * scale) * x_share, (height - box[3] * scale) * y_share
    return (scale, 0, 0, scale, dx - box[0] * scale, dy - box[1] * scale)


def _paint_only(tag: str, properties: dict[str, str]) -> dict[str, str] | None:
    """The properties that change how this shape looks, shortened; None where it cannot be seen."""
    result = {name: value for name, value in properties.items() if name not in _DROPPED}
    color = result.pop("color", "black")
    for name in ("fill", "stroke"):
        if result.get(name, "").lower() == "currentcolor":
            result[name] = color if color.lower() != "currentcolor" else "black"
    _shorten_colors(result)
    if result.pop("visibility", "visible") != "visible":
        return None
    if tag != "image" and result.get("fill") == "none" and result.get("stroke", "none") == "none":
        return None
    for name in _NUMERIC:
        if name in result and (number := length(result[name])) is not None:
            result[name] = short(number, 2)
    if (length(result.get("stroke-miterlimit")) or 4) < 1:
        del result["stroke-miterlimit"]  # less than 1 is not valid
    return {
        name: value
        for name, value in result.items()
        if _DEFAULTS.get(name) != value and not _is_idle(tag, name, result)
    }


def _outline_only(properties: dict[str, str]) -> dict[str, str] | None:
    """The properties that count inside a clip path; None where the shape is hidden."""
    if properties.get("visibility", "visible") != "visible":
        return None
    kept = _FONT | {"clip-rule", "clip-path"}
    return {
        name: value for name, value in properties.items() if name in kept and _DEFAULTS.get(name) != value
    }


def _is_idle(tag: str, name: str, properties: Mapping[str, str]) -> bool:
    """Whether a property cannot change how an element looks that has these other ones."""
    if name in _FONT:
        return tag != "text"
    if tag == "image":
        return name in css.INHERITED
    if name.startswith("fill"):
        return tag == "line" or (name != "fill" and properties.get("fill") == "none")
    if not name.startswith("stroke-"):
        return name == "clip-rule"
    if properties.get("stroke", "none") == "none":
        return True
    is_solid = "stroke-dasharray" not in properties
    match name:
        case "stroke-dashoffset":
            return is_solid
        case "stroke-linecap":
            return is_solid and tag in ("rect", "circle", "ellipse", "polygon")
        case "stroke-linejoin":
            return tag in ("circle", "ellipse", "line")
        case "stroke-miterlimit":
            return (
                tag in ("circle", "ellipse", "line") or properties.get("stroke-linejoin", "miter") != "miter"
            )
    return False


def _shorten_colors(properties: dict[str, str]) -> None:
    """Colours to their short form; the alpha of rgba() moves to the matching opacity."""
    for name, opacity_name in _OPACITY_OF.items():
        if name not in properties:
            continue
        properties[name], alpha = short_color(properties[name])
        if alpha < 1:
            properties[opacity_name] = str(alpha * (_fraction(properties.get(opacity_name, "1"))))
    for name in ("opacity", "fill-opacity", "stroke-opacity", "stop-opacity"):
        if name in properties:
            properties[name] = short(min(max(_fraction(properties[name]), 0.0), 1.0), 2)
    if properties.get("fill-opacity") == "0":
        properties["fill"] = "none"
    if properties.get("stroke-opacity") == "0":
        properties["stroke"] = "none"
    if "font-family" in properties:
        properties["font-family"] = properties["font-family"].split(",")[0].strip(" '\"")
    if properties.get("font-weight") == "400":
        properties["font-weight"] = "normal"


def _fraction(text: str) -> float:
    value = length(text, percent_of=1.0)
    return 1.0 if value is None else value


def _hoist(parent: Element) -> None:
    """Writes a property once, at the parent, if all children on which it has an effect share it."""
    children = [child for child in parent if child.tag not in ("defs", "stop")]
    for child in children:
        if child.tag == "g":
            _hoist(child)
    if len(children) < 2:
        return
    looks = [(child.tag, dict(child.attrib)) for child in children]
    shared = Counter((name, value) for _, look in looks for name, value in look.items())
    for (name, value), count in shared.most_common():
        if count < 2 or name not in css.INHERITED or name in parent.attrib:
            continue
        if all(look.get(name) == value or _is_untouched(tag, name, look) for tag, look in looks):
            parent.set(name, value)
            for child in children:
                child.attrib.pop(name, None)


def _is_untouched(tag: str, name: str, look: Mapping[str, str]) -> bool:
    """Whether an element without this property looks the same if it inherits any value of it."""
    return tag != "g" and name not in look and _is_idle(tag, name, look)


def _tidy(root: Element, side: float) -> Element:
    """The simple rewrites only: names, words and editors' data go, colours and numbers become short."""
    result = copy.deepcopy(root)
    for parent in list(result.iter()):
        for child in list(parent):
            if child.tag in _WORDS or child.get("display") == "none":
                parent.remove(child)
    _rename_ids(result)
    decimals = max(0, 3 - len(str(int(side))))
    for element in result.iter():
        for name in [name for name in element.attrib if name in _DROPPED - {"id", "overflow"}]:
            del element.attrib[name]
        _shorten_colors(element.attrib)
        for name, value in list(element.attrib.items()):
            element.set(name, _tidy_value(name, value, decimals))
            if element.attrib[name] == _NEUTRAL.get(name, ""):
                del element.attrib[name]
        if element.tag == "image":
            element.attrib.pop("href", None)
        if element.text and element.tag not in ("text", "tspan", "textPath"):
            element.text = None
    for name in ("width", "height"):
        result.attrib.pop(name, None)
    return result


def _rename_ids(root: Element) -> None:
    """Names what is referred to a, b, c ... in the order of the text; all other ids go."""
    references = [
        (element, name, target)
        for element in root.iter()
        for name, value in element.attrib.items()
        if (target := _target(name, value)) is not None
    ]
    wanted = {target for _, _, target in references}
    names: dict[str, str] = {}
    for element in root.iter():
        old = element.attrib.pop("id", None)
        if old in wanted and old not in names:
            names[old] = _identifier(len(names))
            element.set("id", names[old])
    for element, name, target in references:
        if target in names:
            element.set(name, f"#{names[target]}" if name == "href" else f"url(#{names[target]})")
        else:
            del element.attrib[name]


def _target(name: str, value: str) -> str | None:
    if name == "href":
        return value[1:] if value.startswith("#") else None
    match = _URL.match(value)
    return match[1] if match else None


def _tidy_value(name: str, value: str, decimals: int) -> str:
    if name == "d":
        return format_path(absolute(parse_path(value, len(value))), decimals + 1)
    if name.lower().endswith("transform"):
        return format_matrix(parse_transform(value) or IDENTITY)
    if name in GEOMETRY and (number := length(value)) is not None:
        return short(number, decimals + 1)
    return value


def _identifier(index: int) -> str:
    """a, b, ... z, aa, ab, ..."""
    name = ""
    while True:
        name = chr(ord("a") + index % 26) + name
        index = index // 26 - 1
        if index < 0:
            return name


def _serialize(element: Element) -> str:
    _sort_attributes(element)
    return ElementTree.tostring(element, encoding="unicode", short_empty_elements=True).replace(" />", "/>")


def _sort_attributes(root: Element) -> None:
    """Geometry first in its usual order, then paint by name: equal elements get equal text."""
    order = {name: index for index, name in enumerate(GEOMETRY)}
    for element in root.iter():
        items = sorted(element.attrib.items(), key=lambda item: (order.get(item[0], len(order)), item[0]))
        element.attrib.clear()
        element.attrib.update(items)
