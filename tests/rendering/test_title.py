"""A title in the visitor's own file: it is there, the file is well-formed, and nothing else has changed."""

from __future__ import annotations

import gzip
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from rendering.decode import decode
from rendering.document import load
from rendering.errors import SvgRejected
from rendering.limits import Limits
from rendering.title import with_title
from tests.rendering.hostile import words

SAMPLES = sorted((Path(__file__).parents[2] / "services" / "samples").glob("*.svg"))
NAMING = ("role", "aria-label", "aria-labelledby", "aria-hidden")


def titles(root: Element) -> list[Element]:
    return [child for child in root if str(child.tag).rpartition("}")[2] == "title"]


def nameless(xml: bytes) -> str:
    """The file without what names its root: all else, text between the elements included."""
    root = ElementTree.fromstring(decode(xml, Limits()))
    for name in NAMING:
        root.attrib.pop(name, None)
    for title in titles(root):
        place = list(root).index(title)
        if place:
            root[place - 1].tail = (root[place - 1].tail or "") + (title.tail or "")
        else:
            root.text = (root.text or "") + (title.tail or "")
        root.remove(title)
    root.text = root.text or None
    return ElementTree.tostring(root, encoding="unicode")


def check(data: bytes, text: str = "A red box") -> bytes:
    made = with_title(data, text)
    root = ElementTree.fromstring(made)
    (title,) = titles(root)
    assert root[0] is title
    assert title.text == text
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == title.get("id")
    assert [element.get("id") for element in root.iter()].count(title.get("id")) == 1
    assert "aria-hidden" not in root.attrib
    assert "aria-label" not in root.attrib
    return made


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            '<svg width="9"/>',
            '<svg width="9" role="img" aria-labelledby="title"><title id="title">T</title></svg>',
        ),
        (
            "<svg width='9' \n\t>\r\n <!-- mine --> <g/>\r\n</svg>\n",
            "<svg width='9' role=\"img\" aria-labelledby=\"title\" \n\t><title id=\"title\">T</title>"
            "\r\n <!-- mine --> <g/>\r\n</svg>\n",
        ),
        (
            '<svg a=">"  role = \'none\' aria-hidden="true" b="/>">'
            '<title id="old"><![CDATA[x]]></title ><g/><title/></svg>',
            '<svg a=">" b="/>" role="img" aria-labelledby="old"><title id="old">T</title><g/></svg>',
        ),
        (
            '<s:svg xmlns:s="http://www.w3.org/2000/svg"><s:g id="title"><s:title>in</s:title></s:g></s:svg>',
            '<s:svg xmlns:s="http://www.w3.org/2000/svg" role="img" aria-labelledby="title-2">'
            '<s:title id="title-2">T</s:title><s:g id="title"><s:title>in</s:title></s:g></s:svg>',
        ),
    ],
)  # fmt: skip
def test_not_a_byte_more_changes(before: str, after: str) -> None:
    assert with_title(before.encode(), " T ") == after.encode()


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_samples_keep_all_else(path: Path) -> None:
    made = check(path.read_bytes())
    assert nameless(made) == nameless(path.read_bytes())
    assert load(made).elements == load(path.read_bytes()).elements + 1
    assert check(made, "Another") == with_title(
        path.read_bytes(), "Another"
    )  # once more changes the words alone


def test_hostile_files_are_refused_or_well_formed() -> None:
    made = 0
    for name, data in words().items():
        try:
            titled = check(data)
        except SvgRejected:
            continue
        made += 1
        assert nameless(titled) == nameless(data), name
    assert made


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1", "us-ascii", "windows-1252"]
)
def test_every_encoding_holds_every_letter(encoding: str) -> None:
    declared = encoding.removesuffix("-sig")
    text = f'<?xml version="1.0" encoding="{declared}"?><svg id="a"><desc>plain</desc></svg>'
    assert nameless(check(text.encode(encoding), "Öl 🛢 ☃ <&>")) == nameless(text.encode(encoding))


def test_a_compressed_file_comes_back_unpacked() -> None:
    assert check(gzip.compress(b"<svg><g/></svg>")).startswith(b"<svg role")


@pytest.mark.parametrize(
    ("given", "said"),
    [("a\x00\x1b\ud800b\uffff", "ab"), (" two\r\n\tlines ", "two lines"), ("]]>&lt;", "]]>&lt;")],
)
def test_what_xml_cannot_hold_is_left_out(given: str, said: str) -> None:
    assert ElementTree.fromstring(with_title(b"<svg/>", given))[0].text == said


def test_a_title_needs_words() -> None:
    with pytest.raises(ValueError, match="empty"):
        with_title(b"<svg/>", " \x00 ")


def test_what_is_no_svg_is_refused() -> None:
    with pytest.raises(SvgRejected, match="not an SVG"):
        with_title(b"<html/>", "T")
    with pytest.raises(SvgRejected, match="limit is 4"):
        with_title(b"<svg><g/></svg>", "T", Limits(max_bytes=4))
