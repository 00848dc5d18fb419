from __future__ import annotations

import gzip

import pytest

from captioning.errors import PromptTooLong
from captioning.pipeline import as_bytes, prepare
from captioning.prompt import prompt_ids
from rendering import Limits, SvgRejected, canonicalize, load
from tests.tiny_models import tiny_llama_tokenizer

SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9">'
    '<title>\u00e9</title><rect width="3" height="3"/></svg>'
)
TOKENIZER = tiny_llama_tokenizer()


def test_bytes_become_the_prompt_of_their_canonical_text() -> None:
    drawing, ids = prepare(SVG.encode(), TOKENIZER)
    assert drawing == load(SVG.encode())
    assert ids == prompt_ids(TOKENIZER, canonicalize(drawing))


@pytest.mark.parametrize(
    "same",
    [
        SVG,
        f'<?xml version="1.0" encoding="UTF-16"?>\n{SVG}',
        f'\ufeff<?xml version="1.0"?>{SVG}',
        f"\n {SVG}",
        SVG.encode("utf-16"),
        gzip.compress(SVG.encode()),
    ],
    ids=["text", "text with a declaration", "byte-order mark", "white space", "utf-16", "gzip"],
)
def test_the_same_drawing_is_the_same_prompt(same: bytes | str) -> None:
    assert prepare(same, TOKENIZER).prompt_ids == prepare(SVG.encode(), TOKENIZER).prompt_ids


def test_text_that_no_file_can_hold_is_refused() -> None:
    with pytest.raises(SvgRejected):
        prepare(SVG.replace("\u00e9", "\ud800"), TOKENIZER)


def test_limits_are_passed_on() -> None:
    with pytest.raises(SvgRejected):
        prepare(SVG, TOKENIZER, limits=Limits(max_elements=1))
    with pytest.raises(PromptTooLong, match="the limit is 10"):
        prepare(SVG, TOKENIZER, max_prompt_tokens=10)


def test_bytes_stay_as_they_are() -> None:
    assert as_bytes(b"\xff") == b"\xff"


@pytest.mark.parametrize("filler", [" ", "<?xml ", "<?xml >"])
def test_text_is_read_once_however_long(filler: str) -> None:
    """In time that grows with its square, this would be days."""
    text = filler * (8_000_000 // len(filler))
    assert len(as_bytes(text + SVG)) <= len(text + SVG) + 1
