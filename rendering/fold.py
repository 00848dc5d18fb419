"""Folds an affine map into a shape's own numbers, so that no transform is left where none is needed.

Where a shape cannot take the whole map (a rotated rectangle), its numbers take the scale and the rest
stays as a `transform`, so that numbers keep their precision on the grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element

from rendering.geometry import (
    IDENTITY,
    Matrix,
    apply,
    is_axis_aligned,
    is_similarity,
    join,
    length,
    mean_scale,
    multiply,
    numbers,
    parse_transform,
    short,
)
from rendering.paths import absolute, format_path, parse_path, short_length, transform

# Every attribute that holds geometry, in the order in which it is written.
GEOMETRY = (
    "id viewBox x y x1 y1 x2 y2 cx cy r rx ry fx fy width height dx dy rotate offset points d transform "
    "gradientUnits gradientTransform"
).split()
_LENGTH_PROPERTIES = ("stroke-width", "stroke-dashoffset", "font-size", "letter-spacing", "word-spacing")
_FONT_SIZES = {
    "xx-small": 9.0,
    "x-small": 10.0,
    "small": 13.0,
    "medium": 16.0,
    "large": 18.0,
    "x-large": 24.0,
}
_DEFAULT_FONT_SIZE = 16.0
_MIN_SCALE = 1e-9
Box = tuple[float, float]  # width and height that percentages refer to


def fold(
    element: Element,
    shape: Element,
    matrix: Matrix,
    box: Box,
    properties: dict[str, str],
    *,
    fixed_axes: bool,
) -> Matrix:
    """Writes `element`'s geometry under `matrix` into `shape`, and scales the lengths in `properties`.

    Args:
        element: a shape with resolved styles. Its geometry is read, it is not changed.
        shape: an empty element of the same tag; gets geometry attributes, and `transform` where needed.
        matrix: from the shape's user space to the grid.
        box: what percentages refer to, in user units.
        properties: the shape's presentation properties, changed in place.
        fixed_axes: whether paint depends on the shape's bounding box, so that it must not be turned.

    Returns:
        The part of `matrix` that the shape's new user space has taken up.
    """
    scale = mean_scale(matrix)
    if scale < _MIN_SCALE:
        return matrix
    applied = matrix if _takes(element, matrix, properties, fixed_axes) else (scale, 0, 0, scale, 0, 0)
    if applied is not matrix:
        rest = multiply(matrix, (1 / scale, 0, 0, 1 / scale, 0, 0))
        shape.set("transform", format_matrix(rest))
    _GEOMETRY_OF[element.tag](element, shape, applied, box)
    _scale_properties(properties, mean_scale(applied), element.tag)
    return applied


def _takes(element: Element, matrix: Matrix, properties: Mapping[str, str], fixed_axes: bool) -> bool:
    """Whether the shape looks the same when its numbers are mapped instead of the shape."""
    if properties.get("stroke", "none") != "none" and not is_similarity(matrix):
        return False
    if is_axis_aligned(matrix):
        return is_similarity(matrix) or element.tag not in ("circle", "text", "image")
    if fixed_axes or element.tag in ("rect", "ellipse", "text", "image"):
        return False
    return element.tag != "circle" or is_similarity(matrix)


def _path(element: Element, shape: Element, m: Matrix, _box: Box) -> None:
    segments = absolute(parse_path(element.get("d", ""), len(element.get("d", ""))))
    shape.set("d", format_path(transform(segments, m)))


def _polygon(element: Element, shape: Element, m: Matrix, _box: Box) -> None:
    values = numbers(element.get("points", ""), len(element.get("points", "")))
    points = [apply(m, x, y) for x, y in zip(values[::2], values[1::2], strict=False)]
    shape.set("points", join([short(value) for point in points for value in point]))


def _line(element: Element, shape: Element, m: Matrix, box: Box) -> None:
    for x_name, y_name in (("x1", "y1"), ("x2", "y2")):
        _point(element, shape, m, box, (x_name, y_name))


def _circle(element: Element, shape: Element, m: Matrix, box: Box) -> None:
    _point(element, shape, m, box, ("cx", "cy"))
    diagonal = ((box[0] ** 2 + box[1] ** 2) / 2) ** 0.5
    _size(element, shape, "r", diagonal, mean_scale(m))


def _ellipse(element: Element, shape: Element, m: Matrix, box: Box) -> None:
    _point(element, shape, m, box, ("cx", "cy"))
    _size(element, shape, "rx", box[0], abs(m[0]))
    _size(element, shape, "ry", box[1], abs(m[3]))
    if "rx" not in shape.attrib and "ry" in shape.attrib:
        shape.set("rx", shape.attrib["ry"])
    elif "ry" not in shape.attrib and "rx" in shape.attrib:
        shape.set("ry", shape.attrib["rx"])


def _rect(element: Element, shape: Element, m: Matrix, box: Box) -> None:
    """Edges are rounded, not sizes, so that neighbours that touch still touch."""
    x, y = length(element.get("x"), box[0]) or 0.0, length(element.get("y"), box[1]) or 0.0
    width, height = length(element.get("width"), box[0]) or 0.0, length(element.get("height"), box[1]) or 0.0
    if width <= 0 or height <= 0:
        return
    (left, top), (right, bottom) = apply(m, x, y), apply(m, x + width, y + height)
    for name, low, high in (("x", left, right), ("y", top, bottom)):
        if short(low) != "0":
            shape.set(name, short(low))
        extent = high - low
        thin = extent < 10
        shape.set(
            {"x": "width", "y": "height"}[name],
            short_length(extent) if thin else short(round(high) - round(low)),
        )
    radii = (length(element.get("rx"), box[0]), length(element.get("ry"), box[1]))
    rx, ry = radii[0] if radii[0] is not None else radii[1], radii[1] if radii[1] is not None else radii[0]
    if rx and ry:
        shape.set("rx", short_length(min(rx, width / 2) * abs(m[0])))
        if abs(ry * m[3] - rx * m[0]) > 0.5:
            shape.set("ry", short_length(min(ry, height / 2) * abs(m[3])))


def _image(element: Element, shape: Element, m: Matrix, box: Box) -> None:
    _rect(element, shape, m, box)


def _text(element: Element, shape: Element, m: Matrix, box: Box) -> None:
    """Text and its spans; a list of positions (one a letter) is mapped number by number."""
    scale = mean_scale(m)
    for name, factor, shift in (("x", m[0], m[4]), ("y", m[3], m[5]), ("dx", scale, 0.0), ("dy", scale, 0.0)):
        text = element.get(name)
        if text is None:
            if name in ("x", "y") and element.tag == "text" and short(shift) != "0":
                shape.set(name, short(shift))
            continue
        one = length(text, box[0] if name in ("x", "dx") else box[1])
        values = numbers(text) if one is None else [one]
        shape.set(name, join([short(value * factor + shift) for value in values]))
    if "rotate" in element.attrib:
        shape.set("rotate", join([short(value) for value in numbers(element.attrib["rotate"])]))
    shape.text = _collapse(element.text)
    for child in element:
        if child.tag != "tspan" or child.get("display") == "none":
            continue
        span = Element("tspan")
        own = {name: value for name, value in child.attrib.items() if name in _SPAN_PROPERTIES}
        _text(child, span, m, box)
        _scale_properties(own, scale, "tspan")
        span.attrib.update(own)
        span.tail = _collapse(child.tail)
        shape.append(span)


_SPAN_PROPERTIES = frozenset(
    (
        "fill stroke stroke-width font-size font-weight font-style text-anchor letter-spacing opacity "
        "fill-opacity"
    ).split()
)


def _collapse(text: str | None) -> str | None:
    """White space as XML's default has it: runs become one space."""
    if not text:
        return None
    words = " ".join(text.split())
    return f"{' ' if text[0].isspace() else ''}{words}{' ' if text[-1].isspace() and words else ''}"


_GEOMETRY_OF = {
    "path": _path,
    "polyline": _polygon,
    "polygon": _polygon,
    "line": _line,
    "circle": _circle,
    "ellipse": _ellipse,
    "rect": _rect,
    "image": _image,
    "text": _text,
}


def is_drawn(shape: Element) -> bool:
    """Whether a folded shape has any extent: an empty path or a rectangle without size draws nothing."""
    match shape.tag:
        case "path":
            return len(parse_path(shape.get("d", ""), 1)) > 1
        case "polyline" | "polygon":
            return " " in shape.get("points", "")
        case "circle":
            return "r" in shape.attrib
        case "ellipse":
            return "rx" in shape.attrib
        case "rect" | "image":
            return "width" in shape.attrib and "height" in shape.attrib
        case "text":
            return bool("".join(shape.itertext()).strip())
    return True


def _point(element: Element, shape: Element, m: Matrix, box: Box, names: tuple[str, str]) -> None:
    x, y = (length(element.get(name), side) or 0.0 for name, side in zip(names, box, strict=True))
    for name, value in zip(names, apply(m, x, y), strict=True):
        if short(value) != "0":
            shape.set(name, short(value))


def _size(element: Element, shape: Element, name: str, percent_of: float, scale: float) -> None:
    value = length(element.get(name), percent_of)
    if value is not None and value > 0:
        shape.set(name, short_length(value * scale))


def _scale_properties(properties: dict[str, str], scale: float, tag: str) -> None:
    """Lengths among the presentation properties, in grid units; initial values are written out."""
    if properties.get("stroke", "none") != "none":
        properties.setdefault("stroke-width", "1")
    if tag == "text":
        properties.setdefault("font-size", str(_DEFAULT_FONT_SIZE))
    for name in _LENGTH_PROPERTIES:
        if name in properties:
            value = length(properties[name])
            value = _FONT_SIZES.get(properties[name], _DEFAULT_FONT_SIZE) if value is None else value
            properties[name] = short_length(value * scale)
    if "stroke-dasharray" in properties:
        dashes = numbers(properties["stroke-dasharray"])
        properties["stroke-dasharray"] = join([short_length(dash * scale) for dash in dashes])


def format_matrix(m: Matrix) -> str:
    """A matrix as `transform` text: four decimals in the linear part, grid units in the shift."""
    linear = [short(value, 4) for value in m[:4]]
    shift = [short(value, 1) for value in m[4:]]
    if linear == ["1", "0", "0", "1"]:
        return f"translate({join(shift)})"
    return f"matrix({join(linear + shift)})"


def gradient(target: Element, by_id: Mapping[str, Element], matrix: Matrix, box: Box) -> Element:
    """A gradient in the new coordinates, with what it takes from others by `href` written out."""
    attributes, stops = _inherit_gradient(target, by_id)
    result = Element(target.tag)
    own = parse_transform(attributes.get("gradientTransform", "")) or IDENTITY
    user_space = attributes.get("gradientUnits") == "userSpaceOnUse"
    if user_space:
        result.set("gradientUnits", "userSpaceOnUse")
        own = multiply(matrix, own)
    names = _LINEAR if target.tag == "linearGradient" else _RADIAL
    sides = box if user_space else (1.0, 1.0)
    values = {}
    for name, default in names.items():
        percent_of = sides[0] if name in ("x1", "x2", "cx", "fx") else sides[1]
        value = length(attributes.get(name), percent_of)
        values[name] = default * percent_of if value is None else value
    values["fx"], values["fy"] = (
        values[name] if name in attributes else values.get(name.replace("f", "c"), 0.0)
        for name in ("fx", "fy")
    )
    if user_space and is_similarity(own) and mean_scale(own) > 0:
        _map_gradient(result, values, own, names)
    else:
        focus = {name: values[name] for name in ("fx", "fy") if name in attributes}
        shown = {name: values[name] for name in names if user_space or abs(values[name] - names[name]) > 1e-6}
        _write_gradient(result, shown | focus, own, user_space)
    if attributes.get("spreadMethod", "pad") != "pad":
        result.set("spreadMethod", attributes["spreadMethod"])
    for stop in stops:
        offset = length(stop.get("offset", "0"), 1.0) or 0.0
        kept: dict[str, str] = {
            name: stop.attrib[name] for name in ("stop-color", "stop-opacity") if name in stop.attrib
        }
        kept["stop-color"] = kept.get("stop-color", "black")
        result.append(Element("stop", {"offset": short(min(max(offset, 0.0), 1.0), 2)} | kept))
    return result


_LINEAR = {"x1": 0.0, "y1": 0.0, "x2": 1.0, "y2": 0.0}
_RADIAL = {"cx": 0.5, "cy": 0.5, "r": 0.5}
_MAX_TEMPLATES = 16  # how many gradients may borrow from one another by href


def _inherit_gradient(
    target: Element, by_id: Mapping[str, Element]
) -> tuple[dict[str, str], Sequence[Element]]:
    attributes: dict[str, str] = {}
    stops: Sequence[Element] = ()
    element: Element | None = target
    for _ in range(_MAX_TEMPLATES):
        if element is None:
            break
        attributes = {**element.attrib, **attributes}
        stops = stops or element.findall("stop")
        element = by_id.get(element.get("href", "#")[1:])
    return attributes, stops


def _map_gradient(
    result: Element, values: Mapping[str, float], m: Matrix, names: Mapping[str, float]
) -> None:
    pairs = [("x1", "y1"), ("x2", "y2")] if "x1" in names else [("cx", "cy"), ("fx", "fy")]
    for x_name, y_name in pairs:
        x, y = apply(m, values[x_name], values[y_name])
        result.set(x_name, short(x))
        result.set(y_name, short(y))
    if "r" in names:
        result.set("r", short_length(values["r"] * mean_scale(m)))
        if (result.get("fx"), result.get("fy")) == (result.get("cx"), result.get("cy")):
            del result.attrib["fx"], result.attrib["fy"]


def _write_gradient(result: Element, values: Mapping[str, float], m: Matrix, user_space: bool) -> None:
    """A gradient that keeps its own coordinates (of the bounding box, or under a transform)."""
    for name, value in values.items():
        result.set(name, short(value, 3))
    if m != IDENTITY:
        shift_decimals = 1 if user_space else 4
        digits = [short(v, 4) for v in m[:4]] + [short(v, shift_decimals) for v in m[4:]]
        result.set("gradientTransform", f"matrix({join(digits)})")
