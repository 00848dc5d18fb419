"""The one way from a file's bytes to a prompt: load, canonicalize, template.

Service, page, batch command, training and evaluation all come through here, so that the same bytes
are the same prompt everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from captioning.prompt import prompt_ids
from rendering import Drawing, Limits, canonicalize, load

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Prepared(NamedTuple):
    """A drawing that was accepted, and the prompt it makes."""

    drawing: Drawing
    prompt_ids: list[int]


def prepare(
    svg: bytes | str,
    tokenizer: PreTrainedTokenizerBase,
    *,
    limits: Limits | None = None,
    max_prompt_tokens: int | None = None,
    keep_words: bool = False,
) -> Prepared:
    """Load one file and make its prompt; with `keep_words`, its own title and desc are in the prompt.

    Raises:
        SvgRejected: the file is no SVG that is accepted.
        PromptTooLong: its prompt has more than `max_prompt_tokens`.
    """
    drawing = load(as_bytes(svg), limits)
    return Prepared(
        drawing, prompt_ids(tokenizer, canonicalize(drawing, keep_words=keep_words), max_prompt_tokens)
    )


def as_bytes(svg: bytes | str) -> bytes:
    """SVG text as a file's bytes; the encoding that the text declares no longer holds and is dropped."""
    if isinstance(svg, bytes):
        return svg
    text = svg.removeprefix("\ufeff").lstrip()
    if text.startswith("<?xml") and text[5:6].isspace():
        text = text.partition("?>")[2] or text
    return text.encode("utf-8", "surrogatepass")
