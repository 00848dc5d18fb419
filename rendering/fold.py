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
from rendering.paths import (
    Segment,
    absolute,
    format_path,
    full_ellipse,
    parse_path,
    short_length,
    transform,
)
from rendering.strokes import Pen, reach

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
_ONE = 1e-3
_MOST_OUTSIDE = 2  # grid units
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
            A path that is a whole ellipse becomes a circle or an ellipse.
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
    if abs(scale - 1) < _ONE:
        scale = 1.0  # what is left of a folded matrix: its numbers stay as they were rounded
    applied = matrix if _takes(element, matrix, properties, fixed_axes) else (scale, 0, 0, scale, 0, 0)
    if applied is not matrix:
        rest = multiply(matrix, (1 / scale, 0, 0, 1 / scale, 0, 0))
        shape.set("transform", format_matrix(rest))
    if element.tag == "path":
        _path(element, shape, applied, properties)
    else:
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


def _path(element: Element, shape: Element, m: Matrix, properties: Mapping[str, str]) -> None:
    text = element.get("d", "")
    segments = transform(absolute(parse_path(text, len(text))), m)
    pen = Pen.of(properties, mean_scale(m))
    ellipse = full_ellipse(segments)
    if ellipse is None or "stroke-dasharray" in properties or _stands_out(segments, ellipse, pen):
        shape.set("d", format_path(segments, filled=pen is None, pen=pen))
        return
    cx, cy, rx, ry = ellipse
    shape.tag = "circle" if short_length(rx) == short_length(ry) else "ellipse"
    radii = {"r": rx} if shape.tag == "circle" else {"rx": rx, "ry": ry}
    shape.attrib.update(
        {name: short(value) for name, value in (("cx", cx), ("cy", cy)) if short(value) != "0"}
    )
    shape.attrib.update({name: short_length(value) for name, value in radii.items()})


def _stands_out(
    segments: Sequence[Segment], ellipse: tuple[float, float, float, float], pen: Pen | None
) -> bool:
    """Whether a stroke shows where the ellipse begins and ends, as its ends do not meet to the last digit."""
    if pen is None:
        return False
    cx, cy, rx, ry = ellipse
    most = max(rx, ry) + pen.half_width + _MOST_OUTSIDE
    return any(abs(point - complex(cx, cy)) > most for point in reach(segments, pen))


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
        most = (length(shape.get("width")) or 0.0) / 2, (length(shape.get("height")) or 0.0) / 2
        rx_text, ry_text = (
            short_length(min(r * s, half)) for r, s, half in zip((rx, ry), (m[0], m[3]), most, strict=True)
        )
        shape.set("rx", rx_text)
        if abs(float(ry_text) - float(rx_text)) > 0.5:
            shape.set("ry", ry_text)


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
            return len(numbers(shape.get("points", ""), 4)) > 3
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
        properties["stroke-dasharray"] = join([short(dash * scale, 2) for dash in dashes])  # they add up


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
    is_linear = target.tag == "linearGradient"
    defaults = _LINEAR if is_linear else _RADIAL
    if attributes.get("gradientUnits") == "userSpaceOnUse":
        result.set("gradientUnits", "userSpaceOnUse")
        values = _gradient_values(attributes, defaults, box)
        write = _linear if is_linear else _radial
        write(result, values, multiply(matrix, own))
    else:
        values = _gradient_values(attributes, defaults, (1.0, 1.0))
        texts = {name: short(value, 3) for name, value in values.items()}
        for focus, centre in (("fx", "cx"), ("fy", "cy")):
            if focus in texts and texts[focus] == texts[centre]:
                del texts[focus]
        for name, text in texts.items():
            if name not in defaults or text != short(defaults[name], 3):
                result.set(name, text)
        digits = [short(value, 4) for value in own]
        if digits != ["1", "0", "0", "1", "0", "0"]:
            result.set("gradientTransform", f"matrix({join(digits)})")
    if attributes.get("spreadMethod", "pad") != "pad":
        result.set("spreadMethod", attributes["spreadMethod"])
    result.extend(_stop(stop) for stop in stops)
    return result


def _stop(stop: Element) -> Element:
    result = Element("stop")
    offset = short(min(max(length(stop.get("offset", "0"), 1.0) or 0.0, 0.0), 1.0), 2)
    if offset != "0":
        result.set("offset", offset)
    result.set("stop-color", stop.get("stop-color", "black"))
    if length(stop.get("stop-opacity"), 1.0) not in (None, 1.0):
        result.set("stop-opacity", stop.attrib["stop-opacity"])
    return result


_LINEAR = {"x1": 0.0, "y1": 0.0, "x2": 1.0, "y2": 0.0}
_RADIAL = {"cx": 0.5, "cy": 0.5, "r": 0.5}


def _gradient_values(
    attributes: Mapping[str, str], defaults: Mapping[str, float], box: Box
) -> dict[str, float]:
    """Points and radius as numbers; a focus (fx, fy) only where it is not the centre."""
    values = {}
    for name, default in {**defaults, "fx": None, "fy": None}.items():
        percent_of = box[0] if name in ("x1", "x2", "cx", "fx") else box[1]
        value = length(attributes.get(name), percent_of)
        if value is not None:
            values[name] = value
        elif default is not None:
            values[name] = default * percent_of
    for focus, centre in (("fx", "cx"), ("fy", "cy")):
        if values.get(focus) == values.get(centre) or defaults is _LINEAR:
            values.pop(focus, None)
    return values


def _linear(result: Element, values: Mapping[str, float], m: Matrix) -> None:
    """A mapped linear gradient is one again: its end moves along the mapped line of one colour."""
    x1, y1 = apply(m, values["x1"], values["y1"])
    x2, y2 = apply(m, values["x2"], values["y2"])
    dx, dy = values["x2"] - values["x1"], values["y2"] - values["y1"]
    across = (-m[0] * dy + m[2] * dx, -m[1] * dy + m[3] * dx)  # the image of a line of one colour
    size = across[0] ** 2 + across[1] ** 2
    if size > 0:
        along = ((x2 - x1) * across[0] + (y2 - y1) * across[1]) / size
        x2, y2 = x2 - along * across[0], y2 - along * across[1]
    for name, value in (("x1", x1), ("y1", y1), ("x2", x2), ("y2", y2)):
        result.set(name, short(value))


def _radial(result: Element, values: Mapping[str, float], m: Matrix) -> None:
    """A circle stays in grid units; what becomes an ellipse is the unit circle under a transform."""
    cx, cy, radius = values["cx"], values["cy"], values["r"]
    focus = values.get("fx", cx) - cx, values.get("fy", cy) - cy
    x, y = (round(value) for value in apply(m, cx, cy))
    linear = [short_length(value * radius) for value in m[:4]]
    a, b, c, d = map(float, linear)
    if is_similarity((a, b, c, d, 0, 0)) or a * d == b * c:
        result.attrib.update(
            {"cx": short(x), "cy": short(y), "r": short_length(mean_scale((a, b, c, d, 0, 0)))}
        )
        moved = apply((*m[:4], x, y), *focus)
        places = [short(value) for value in moved]
        is_central = places == [short(x), short(y)]
    else:
        result.attrib.update({"cx": "0", "cy": "0", "r": "1"})
        result.set("gradientTransform", f"matrix({join([*linear, short(x), short(y)])})")
        places = [short(value / radius, 2) for value in focus]
        is_central = places == ["0", "0"]
    if not is_central:
        result.attrib.update(zip(("fx", "fy"), places, strict=True))


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
