"""What holds for any drawing: the border is calm, a safe file stays as it is, canonical text is canonical."""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rendering.canonical import canonicalize
from rendering.document import load
from rendering.errors import SvgRejected
from rendering.limits import Limits
from tests.rendering.drawings import svg

NUMBERS = st.one_of(
    st.integers(-120, 120).map(str),
    st.floats(-1e4, 1e4, allow_nan=False).map(lambda value: f"{value:.3g}"),
    st.sampled_from(["0", "-0", ".5", "1e-4", "99.9995", "50%", "3px", "1e9", "nan", "", "2mm", "1em"]),
)
REFERENCES = st.sampled_from(["#a", "#b", "#c", "#none", "http://x/#a"])
PAINTS = st.one_of(
    st.sampled_from(
        [
            "red",
            "#123",
            "none",
            "currentColor",
            "hsl(9 9% 9%)",
            "rgba(1,2,3,.4)",
            "inherit",
            "url(x)",
            "oklch(60% .2 30)",
            "lab(1e308 none 9 / .5)",
            "color(display-p3 1 0 -1e308)",
        ]
    ),
    REFERENCES.map(lambda target: f"url({target}) none"),
)
ARGUMENTS = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "Z": 0}


@st.composite
def paths(draw: st.DrawFn) -> str:
    plain = st.integers(-50, 150) | st.floats(-50, 150, width=16)
    text = "M 10 10"
    for letter in draw(st.lists(st.sampled_from("MLHVCSQTAZmlhvcsqtaz"), max_size=8)):
        if letter in "Aa":
            radii, flags = draw(st.tuples(plain, plain, plain)), draw(st.tuples(st.booleans(), st.booleans()))
            values = [
                *map(str, radii),
                *(str(int(flag)) for flag in flags),
                *(str(draw(plain)) for _ in "xy"),
            ]
        else:
            values = [str(draw(plain)) for _ in range(ARGUMENTS[letter.upper()])]
        text += f" {letter} {' '.join(values)}"
    return text


@st.composite
def transforms(draw: st.DrawFn) -> str:
    counts = {"translate": 2, "scale": 2, "rotate": 3, "skewX": 1, "skewY": 1, "matrix": 6}
    steps = draw(st.lists(st.sampled_from(sorted(counts)), max_size=3))
    plain = st.sampled_from(["0", "1", "-1", "2", ".5", "30", "90", "1e-3", "-2.25"])
    return " ".join(f"{step}({','.join(draw(plain) for _ in range(counts[step]))})" for step in steps)


LENGTHS = (
    "x y cx cy r rx ry x1 y1 x2 y2 width height fx fy offset dx dy stroke-width stroke-miterlimit opacity "
    "fill-opacity stop-opacity font-size"
).split()
VALUES = {
    **dict.fromkeys(LENGTHS, NUMBERS),
    **dict.fromkeys("fill stroke stop-color color".split(), PAINTS),
    **dict.fromkeys(["clip-path", "mask", "filter", "marker-mid"], REFERENCES.map("url({})".format)),
    **dict.fromkeys("transform gradientTransform patternTransform".split(), transforms()),
    **dict.fromkeys(
        ["gradientUnits", "clipPathUnits", "maskUnits"],
        st.sampled_from(["userSpaceOnUse", "objectBoundingBox"]),
    ),
    "href": REFERENCES,
    "id": st.sampled_from(["a", "b", "c"]),
    "d": paths(),
    "points": st.lists(st.integers(-50, 150).map(str), max_size=9).map(" ".join),
    "stroke-linejoin": st.sampled_from(["round", "miter", "bevel"]),
    "stroke-linecap": st.sampled_from(["round", "butt", "square"]),
    "stroke-dasharray": st.sampled_from(["3", "1 2 3", "none", "5%", "0", "1e-9"]),
    "fill-rule": st.sampled_from(["evenodd", "nonzero"]),
    "visibility": st.sampled_from(["hidden", "visible"]),
    "display": st.sampled_from(["none", "inline"]),
    "preserveAspectRatio": st.sampled_from(["none", "xMinYMax slice"]),
    "viewBox": st.sampled_from(["0 0 9 9", "-5 -5 50 20", "0 0 0 0"]),
    "style": st.sampled_from(["fill:red", "opacity:.3;stroke:blue", "transform:scale(2)", "x"]),
    "class": st.sampled_from(["k", "m"]),
}
TAGS = (
    "path rect circle ellipse line polyline polygon text tspan g g svg use defs symbol linearGradient "
    "radialGradient stop clipPath mask pattern marker filter feFlood title style switch a image script "
    "unknown"
).split()


@st.composite
def elements(draw: st.DrawFn, depth: int = 3) -> str:
    tag = draw(st.sampled_from(TAGS))
    names = draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=6, unique=True))
    if tag == "path":
        names = sorted({*names, "d"})
    attributes = "".join(f" {name}={quoteattr(draw(VALUES[name]))}" for name in names)
    if tag in ("text", "tspan", "title", "style"):
        inside = draw(st.sampled_from(["Hi", " a  b ", ".k { fill: red } g > .m { stroke: url(#a) }", ""]))
    else:
        inside = "".join(draw(st.lists(elements(depth - 1), max_size=4))) if depth else ""
    return f"<{tag}{attributes}>{inside}</{tag}>"


DRAWINGS = st.lists(elements(), min_size=1, max_size=5).map(
    lambda parts: svg("".join(parts), 'viewBox="0 0 100 80"')
)
calm = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)


@calm
@given(DRAWINGS)
def test_a_safe_drawing_stays_as_it_is(data: bytes) -> None:
    try:
        once = load(data, Limits(max_expanded_elements=2_000))
    except SvgRejected:
        return
    twice = load(once.svg.encode())
    assert twice.svg == once.svg
    assert twice.removed == ()


@calm
@given(DRAWINGS)
def test_canonical_text_is_canonical(data: bytes) -> None:
    try:
        drawing = load(data, Limits(max_expanded_elements=2_000))
    except SvgRejected:
        return
    text = canonicalize(drawing)
    assert canonicalize(load(text.encode())) == text
