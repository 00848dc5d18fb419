"""The embedded model's tokenizer: byte-level BPE in which every coordinate is one token.

A number of up to three digits is one token, and so is a pair of hexadecimal digits of a colour; the
space between two numbers is not encoded at all (so `12 7` in a caption comes back as `127`). The
prompt's fixed text is one token at each end of the drawing. All this only shortens what is read:
any text can be encoded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import product

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from captioning.prompt import user_message

USER, ASSISTANT, END, PAD = "<|user|>", "<|assistant|>", "<|end|>", "<|pad|>"
MAX_CONTEXT_TOKENS = 2048

_CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '<|user|>' + message['content'] }}"
    "{% else %}{{ '<|assistant|>' + message['content'] + '<|end|>' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
_HEX = "0123456789abcdef"
_GIVEN_TOKENS = 1_256  # pairs of hexadecimal digits, numbers of three digits
_SQUARE = '<svg viewBox="0 0 1000 1000"'  # how most canonical drawings begin
_HEX_COLOUR = r"(?<=#)[0-9a-f]{2}(?=[0-9a-f])|(?<=#[0-9a-f]{2})[0-9a-f]{2}|(?<=#[0-9a-f]{4})[0-9a-f]{2}"
_PIECES = "|".join(
    (
        _HEX_COLOUR,
        r"[0-9]{1,3}",  # a number
        r" [a-zA-Z0-9-]+=\"",  # an attribute's name
        r"</?[a-zA-Z]+|/?>",  # tags
        r" ?[a-zA-Z]+",  # words, path commands
        r"[^0-9a-zA-Z]",
    )
)
_FIRST_WORD = normalizers.Prepend(" ")
"""A caption's first word is the same token as that word further on, however the caption begins."""
_NUMBER_OR_COLOUR = re.compile(r"#[0-9a-f]{3,6}|\d+")


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Learns the merges of words and markup from `texts`; numbers and colours are given, not learned."""
    learner = Tokenizer(models.BPE())
    learner.normalizer = _FIRST_WORD
    learner.pre_tokenizer = _pre_tokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - _GIVEN_TOKENS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    learner.train_from_iterator((_NUMBER_OR_COLOUR.sub(" ", text) for text in texts), trainer)
    learned = json.loads(learner.to_str())["model"]
    tokenizer = Tokenizer(_with_given(learned["vocab"], [tuple(pair) for pair in learned["merges"]]))
    tokenizer.normalizer = _FIRST_WORD
    tokenizer.pre_tokenizer = _pre_tokenizer()
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    head, _, tail = user_message("\0").partition("\0")
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in (head, tail, _SQUARE)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=USER,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[ASSISTANT],
        chat_template=_CHAT_TEMPLATE,
        padding_side="left",
        model_max_length=MAX_CONTEXT_TOKENS,
        clean_up_tokenization_spaces=False,
    )


def number_tokens(tokenizer: PreTrainedTokenizerFast) -> dict[int, int]:
    """Token id of each number from 0 to 999."""
    vocab = tokenizer.get_vocab()
    return {number: vocab[str(number)] for number in range(1000)}


def _pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"(?<=[0-9]) (?=[0-9])"), behavior="removed"),
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _number_merges() -> Iterator[tuple[str, str]]:
    """`abc` is reached from `ab` and `c` and from `a` and `bc`: whichever pair is joined first."""
    digits = _HEX[:10]
    yield from product(digits, digits)
    for a, b, c in product(digits, digits, digits):
        yield a + b, c
        yield a, b + c


def _colour_merges() -> Iterator[tuple[str, str]]:
    return ((first, second) for first, second in product(_HEX, _HEX) if not (first + second).isdigit())


def _with_given(vocab: dict[str, int], merges: list[tuple[str, str]]) -> models.BPE:
    """The learned BPE with the merges of numbers before its own, and those of colours behind them."""
    numbers, colours = list(_number_merges()), list(_colour_merges())
    taken = set(numbers)
    merges = [pair for pair in merges if pair not in taken]
    taken.update(merges)
    merges = numbers + merges + [pair for pair in colours if pair not in taken]
    tokens = dict.fromkeys(sorted(vocab, key=vocab.__getitem__))
    tokens.update(dict.fromkeys(first + second for first, second in numbers + colours))
    return models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges)
