"""CSS to presentation attributes: style sheets and `style` attributes are resolved once, then gone.

After this an SVG has no CSS in it, so nothing behind this point has to parse or distrust any.
Selectors that depend on a viewer (`:hover`, `@media`) do not apply to a still picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element

import cssselect2
import tinycss2

from rendering.errors import SvgRejected
from rendering.limits import Limits

# The properties that CSS and presentation attributes share (SVG 1.1, appendix N, and SVG 2 additions).
INHERITED = frozenset(
    (
        "fill fill-opacity fill-rule stroke stroke-width stroke-opacity stroke-linecap stroke-linejoin "
        "stroke-miterlimit stroke-dasharray stroke-dashoffset color visibility clip-rule font-family "
        "font-size font-style font-weight font-variant font-stretch text-anchor letter-spacing word-spacing "
        "writing-mode direction dominant-baseline paint-order marker-start marker-mid marker-end "
        "text-rendering shape-rendering image-rendering color-interpolation color-interpolation-filters"
    ).split()
)
NOT_INHERITED = frozenset(
    (
        "opacity display clip-path mask filter transform transform-origin overflow stop-color stop-opacity "
        "flood-color flood-opacity lighting-color text-decoration alignment-baseline baseline-shift "
        "vector-effect mix-blend-mode isolation"
    ).split()
)
PROPERTIES = INHERITED | NOT_INHERITED
_GEOMETRY = frozenset("x y cx cy r rx ry width height".split())  # properties in SVG 2

Declaration = tuple[str, str]


def resolve(root: Element, limits: Limits) -> list[str]:
    """Turns every style sheet and `style` attribute of the tree into presentation attributes, in place.

    Returns:
        What was left out, one entry each ("@import", "@font-face", ...).

    Raises:
        SvgRejected: more CSS than `limits` allow.
    """
    _check_size(root, limits)
    try:
        return _resolve(root, limits)
    except RecursionError:
        raise SvgRejected(
            "The SVG's CSS is nested too deeply. Simplify its selectors.", "too_much_css"
        ) from None


def _resolve(root: Element, limits: Limits) -> list[str]:
    removed: list[str] = []
    matcher = cssselect2.Matcher()
    rules = 0
    for sheet in list(root.iter("style")):
        if sheet.get("type", "text/css") not in ("text/css", ""):
            continue
        for rule in tinycss2.parse_stylesheet(sheet.text or "", skip_comments=True, skip_whitespace=True):
            if rule.type != "qualified-rule":
                removed.append(f"@{rule.lower_at_keyword}" if rule.type == "at-rule" else "invalid CSS")
                continue
            rules += 1
            if rules > limits.max_css_rules:
                raise SvgRejected(
                    f"The SVG has more than {limits.max_css_rules:,} CSS rules, which is the limit.",
                    "too_much_css",
                )
            _add_rule(matcher, rule, rules)
    if rules:
        wrapped = cssselect2.ElementWrapper.from_xml_root(root)
        for node in wrapped.iter_subtree():
            _apply(node.etree_element, [payload for *_, payload in matcher.match(node)])
    else:
        for element in root.iter():
            if "style" in element.attrib:
                _apply(element, [])
    return removed


def _check_size(root: Element, limits: Limits) -> None:
    size = sum(len(e.get("style", "")) + (len(e.text or "") if e.tag == "style" else 0) for e in root.iter())
    if size > limits.max_css_bytes:
        raise SvgRejected(
            f"The SVG has {size:,} characters of CSS, the limit is {limits.max_css_bytes:,}.", "too_much_css"
        )


def _add_rule(matcher: cssselect2.Matcher, rule: tinycss2.ast.QualifiedRule, order: int) -> None:
    try:
        selectors = cssselect2.compile_selector_list(rule.prelude)
    except cssselect2.SelectorError:
        return
    declarations = list(_declarations(rule.content))
    for selector in selectors:
        if selector.pseudo_element is None:
            matcher.add_selector(selector, (order, declarations))


def _declarations(content: object) -> Iterator[tuple[str, str, bool]]:
    for item in tinycss2.parse_blocks_contents(content, skip_comments=True, skip_whitespace=True):
        if item.type == "declaration":
            yield item.lower_name, tinycss2.serialize(item.value).strip(), item.important


def _apply(element: Element, matched: list[Any]) -> None:
    """Writes the winning value of each property as an attribute: importance, then order, then `style`."""
    layers = [declarations for _order, declarations in matched]
    layers.append(list(_declarations(element.attrib.pop("style", ""))))
    winners: dict[str, tuple[bool, str]] = {}
    for declarations in layers:
        for name, value, important in declarations:
            if name in winners and winners[name][0] and not important:
                continue
            winners[name] = (important, value)
    for name, (_, value) in winners.items():
        if name == "marker":
            element.attrib.update({f"marker-{place}": value for place in ("start", "mid", "end")})
        elif name in PROPERTIES or (name in _GEOMETRY and element.tag != "svg"):
            element.set(name, value)
