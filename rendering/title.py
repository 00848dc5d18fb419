"""A title written into somebody's own SVG, so that screen readers say it; nothing else changes.

The file is parsed to find the places, and edited as bytes: indentation, quotes, comments, editors' data
and the encoding stay as they are. So it is no safer than it came: hand it back as a download, never show it.
"""

from __future__ import annotations

import re
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from rendering.decode import decode
from rendering.document import load
from rendering.limits import Limits
from rendering.parse import SVG_NAMESPACE

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PREFIX = re.compile(r"<([^\s/>:]+:)")
_ATTRIBUTE = re.compile(r"""\s+([^\s=/>]+)\s*=\s*("[^"]*"|'[^']*')""")
_OLD_NAME = frozenset(["aria-hidden", "aria-label", "aria-labelledby", "role"])
_UTF16 = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be", b"<\x00": "utf-16-le", b"\x00<": "utf-16-be"}


def with_title(data: bytes, title: str, limits: Limits | None = None) -> bytes:
    """The SVG with `title` as the first child of its root, which gets `role="img"` and `aria-labelledby`.

    Titles of the root that were there give way, as do its `aria-label` and `aria-hidden`; titles of groups
    and shapes stay. An SVGZ comes back unpacked.

    Raises:
        SvgRejected: the file is no SVG that is accepted.
        ValueError: a title without a character.
    """
    text = " ".join(_NOT_XML.sub("", title).split())
    if not text:
        raise ValueError("the title is empty")
    limits = limits or Limits()
    load(data, limits)
    xml = decode(data, limits)
    places = _Places(xml)
    codec = _UTF16.get(xml[:2]) or places.encoding
    start, end = places.root
    opening = _with_title(xml[start:end].decode(codec), places.title_id, text)
    pieces = [xml[:start], opening.encode(codec, "xmlcharrefreplace")]
    for old_start, old_end in places.titles:
        pieces.append(xml[end:old_start])
        end = old_end
    return b"".join([*pieces, xml[end:]])


def _with_title(tag: str, title_id: str, text: str) -> str:
    """The root's start tag, named by the title that follows it; other attributes stay as they are."""
    tag = _ATTRIBUTE.sub(lambda found: "" if found[1] in _OLD_NAME else found[0], tag)
    empty = tag.endswith("/>")
    tag = tag.removesuffix(">").removesuffix("/" if empty else "")
    space = tag[len(tag.rstrip()) :]
    prefix = found[1] if (found := _PREFIX.match(tag)) else ""
    name = quoteattr(title_id)
    return (
        f'{tag.rstrip()} role="img" aria-labelledby={name}{space}>'
        f"<{prefix}title id={name}>{escape(text)}</{prefix}title>{f'</{prefix}svg>' if empty else ''}"
    )


class _Places:
    """Where things stand in a file, as byte offsets; a tag ends where expat's next event begins."""

    def __init__(self, xml: bytes) -> None:
        self.encoding = "utf-8"
        self.root = (0, 0)  # its start tag
        self.titles: list[tuple[int, int]] = []  # of the root, whole elements
        self._ids: set[str] = set()
        self._old_id = ""  # of the first of these titles that has one; styles or groups may refer to it
        self._depth = 0
        self._title_start: int | None = None
        self._ended = ""  # "root" or "title": the tag that ends here
        self._parser = expat.ParserCreate(namespace_separator="}")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.XmlDeclHandler = self._declaration
        self._parser.DefaultHandler = self._next
        self._parser.Parse(xml, True)

    @property
    def title_id(self) -> str:
        name, number = self._old_id or "title", 1
        while name in self._ids - {self._old_id}:
            number += 1
            name = f"title-{number}"
        return name

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._next()
        if self._depth == 0:
            self.root = (self._parser.CurrentByteIndex, 0)
            self._ended = "root"
        elif self._depth == 1 and name in ("title", f"{SVG_NAMESPACE}}}title"):
            self._title_start = self._parser.CurrentByteIndex
            self._old_id = self._old_id or attributes.get("id", "")
        if "id" in attributes:
            self._ids.add(attributes["id"])
        self._depth += 1

    def _end(self, _name: str) -> None:
        self._next()
        self._depth -= 1
        if self._depth == 1 and self._title_start is not None:
            self._ended = "title"

    def _declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        self.encoding = encoding or self.encoding

    def _next(self, *_: Any) -> None:
        """Called at every event."""
        here = self._parser.CurrentByteIndex
        if self._ended == "root":
            self.root = (self.root[0], here)
        elif self._ended == "title" and self._title_start is not None:
            self.titles.append((self._title_start, here))
            self._title_start = None
        self._ended = ""
