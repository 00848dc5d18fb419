"""XML bytes to an element tree, with limits that apply before the tree grows.

No entity is ever defined, no DTD read, no external resource asked for. Elements and attributes of
the SVG namespace carry their local names; what belongs to another namespace keeps `{uri}name`.
"""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element
from xml.parsers import expat

from rendering.errors import SvgRejected
from rendering.limits import Limits

SVG_NAMESPACE = "http://www.w3.org/2000/svg"
_XLINK_HREF = "{http://www.w3.org/1999/xlink}href"
_CHUNK_BYTES = 1 << 16


def parse(data: bytes, limits: Limits) -> tuple[Element, int]:
    """The root element and the number of processing instructions that were left out.

    Raises:
        SvgRejected: not XML, not SVG, entities, or over a limit.
    """
    builder = _TreeBuilder(limits)
    try:
        for start in range(0, len(data), _CHUNK_BYTES):
            builder.parser.Parse(data[start : start + _CHUNK_BYTES], False)
        builder.parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise _not_xml(error, builder) from None
    except (LookupError, UnicodeError, ValueError) as error:
        if isinstance(error, SvgRejected):
            raise
        raise SvgRejected(
            f"The file's declared encoding cannot be read: {error}. Save it as UTF-8.", "encoding"
        ) from None
    if builder.root is None:
        raise _no_svg()
    return builder.root, builder.instructions


def _not_xml(error: expat.ExpatError, builder: _TreeBuilder) -> SvgRejected:
    if builder.root is None:
        return _no_svg()
    reason = expat.ErrorString(error.code)
    return SvgRejected(
        f"The SVG is not well-formed XML: line {error.lineno}, column {error.offset + 1}: {reason}.",
        "malformed",
    )


def _no_svg() -> SvgRejected:
    return SvgRejected("The file is not an SVG: no <svg> element was found at its start.", "not_svg")


class _TreeBuilder:
    """Expat's handlers: build the tree and count as they go."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.root: Element | None = None
        self.instructions = 0
        self._stack: list[Element] = []
        self._elements = 0
        self._text: list[str] = []  # since the last tag; comments may cut it into many pieces
        self.parser = expat.ParserCreate(namespace_separator="}")
        self.parser.buffer_text = True
        self.parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text.append
        self.parser.ProcessingInstructionHandler = self._instruction
        self.parser.EntityDeclHandler = self._entity
        self.parser.ExternalEntityRefHandler = self._entity

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._write_text()
        limits = self.limits
        self._elements += 1
        if self._elements > limits.max_elements:
            raise _over(
                "elements", f"more than {limits.max_elements:,}", limits.max_elements, "too_many_elements"
            )
        if len(self._stack) >= limits.max_depth:
            raise _over("levels of nesting", f"more than {limits.max_depth}", limits.max_depth, "too_deep")
        if len(attributes) > limits.max_attributes:
            raise _over(
                "attributes in one element",
                str(len(attributes)),
                limits.max_attributes,
                "too_many_attributes",
            )
        element = Element(_local(name), _attributes(attributes))
        if self._stack:
            self._stack[-1].append(element)
        elif element.tag != "svg":
            raise SvgRejected(f"The file is not an SVG: its root element is <{element.tag[:40]}>.", "not_svg")
        else:
            self.root = element
        self._stack.append(element)

    def _end(self, _name: str) -> None:
        self._write_text()
        self._stack.pop()

    def _write_text(self) -> None:
        if not self._text:
            return
        text = "".join(self._text)
        self._text.clear()
        parent = self._stack[-1]
        if len(parent):
            parent[-1].tail = text
        else:
            parent.text = text

    def _instruction(self, _target: str, _data: str) -> None:
        self.instructions += 1

    def _entity(self, *_declaration: Any) -> int:
        raise SvgRejected(
            "The SVG declares or refers to XML entities, which are never expanded here. "
            "Save it without a DTD subset.",
            "entities",
        )


def _over(what: str, value: str, limit: int, code: str) -> SvgRejected:
    return SvgRejected(f"The SVG has {value} {what}, the limit is {limit:,}. Simplify the drawing.", code)


def _local(name: str) -> str:
    namespace, separator, local = name.rpartition("}")
    if not separator or namespace == SVG_NAMESPACE:
        return local
    return f"{{{namespace}}}{local}"


def _attributes(given: dict[str, str]) -> dict[str, str]:
    """Attributes without a namespace keep their names; `xlink:href` is `href` where there is no plain one."""
    attributes = {f"{{{name}" if "}" in name else name: text for name, text in given.items()}
    if _XLINK_HREF in attributes:
        attributes.setdefault("href", attributes.pop(_XLINK_HREF))
    return attributes
