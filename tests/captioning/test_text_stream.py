from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from captioning.base_models import load_tokenizer, resolve
from captioning.prompt import clean_caption
from captioning.text_stream import TextStream
from tests.tiny_models import tiny_llama_tokenizer

TEXTS = (
    "A red circle above a blue square.",
    "  Tiên 東京 — naïve 🦊🏳️‍🌈\n\tdone",
    "\x1b[31mnot red\x07  \n",
    "",
)


def metaspace_tokenizer() -> PreTrainedTokenizerFast:
    """Of Llama 2's kind: words with a mark, single bytes for what it does not know, one blank stripped."""
    pieces = ["<unk>", "▁A", "▁fox", "▁", ".", *(f"<0x{byte:02X}>" for byte in range(256))]
    backend = Tokenizer(
        models.BPE({piece: number for number, piece in enumerate(pieces)}, [], byte_fallback=True)
    )
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")


def pieces_of(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], stop: Sequence[str] = ()) -> list[str]:
    stream = TextStream(stop)
    pieces = []
    for end in range(1, len(ids) + 1):
        stream.hear(str(tokenizer.decode(list(ids[:end]), skip_special_tokens=True)))
        if stream.stopped:
            break
        pieces.append(stream.piece())
    return [*pieces, stream.piece(last=True)]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("source", ["tiny", "embedded"])
def test_the_pieces_make_the_text(source: str, text: str) -> None:
    tokenizer = tiny_llama_tokenizer() if source == "tiny" else load_tokenizer(resolve("embedded"))
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    pieces = pieces_of(tokenizer, ids)
    assert "".join(pieces) == clean_caption(str(tokenizer.decode(ids)))
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)


def test_a_decoder_with_bytes_and_stripped_blanks() -> None:
    tokenizer = metaspace_tokenizer()
    vocabulary = tokenizer.get_vocab()
    fox = [f"<0x{byte:02X}>" for byte in "🦊".encode()]
    ids = [vocabulary[piece] for piece in ("▁A", "▁fox", "▁", *fox, ".")]
    assert pieces_of(tokenizer, ids) == ["A", " fox", "", "", "", "", " 🦊", ".", ""]


def test_bytes_that_are_no_character_come_out_at_the_end() -> None:
    tokenizer = metaspace_tokenizer()
    ids = [tokenizer.get_vocab()[piece] for piece in ("▁A", "<0xF0>", "<0x9F>")]
    assert (
        "".join(pieces_of(tokenizer, ids))
        == tokenizer.decode(ids)
        == "A\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"
    )


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        (["blue"], "A red circle above a"),
        (["e circ", "zzz"], "A red circle above a blue square."),
        (["e abo"], "A red circl"),
        (["square", "circle"], "A red"),
        (["nowhere"], "A red circle above a blue square."),
    ],
)
def test_a_stop_string_ends_the_text_and_never_shows(stop: list[str], expected: str) -> None:
    tokenizer = tiny_llama_tokenizer()
    pieces = pieces_of(tokenizer, tokenizer(TEXTS[0], add_special_tokens=False)["input_ids"], stop)
    assert "".join(pieces) == expected


def test_words_of_a_caption_arrive_as_they_are_written(llama: Path) -> None:
    tokenizer = load_tokenizer(resolve(str(llama)))
    pieces = pieces_of(tokenizer, tokenizer("A red circle", add_special_tokens=False)["input_ids"])
    assert len([piece for piece in pieces if piece]) > 1
