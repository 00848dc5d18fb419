"""The embedded model's tokenizer: byte-level BPE in which every coordinate is one token.

A number up to 1000 is one token, and so is all markup between two values (`"/><circle cx="`) where it
is common. A colour is three, one for each channel, and none of them is also a coordinate: red has the
number sign, blue the closing quote, green a mark that only the tokenizer sees. The space between two
numbers is not encoded at all (so `12 7` in a caption comes back as `127`). The prompt's fixed text is
one token at each end of the drawing. All this only shortens what is read: any text can be encoded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import product

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

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
_SIGNS = frozenset('<>="')
_LARGEST = 1_000  # number with a token of its own: the side of the canonical grid
_SQUARE = '<svg viewBox="0 0 1000 1000"'  # how most canonical drawings begin
_MARK, _MARK_BYTE = "\x01", "ā"  # no XML file may have this character; as BPE over bytes spells it
_BEFORE_GREEN = r"(?<=#[0-9a-f]{2})(?=[0-9a-f]{4}\")|(?<=#[0-9a-f])(?=[0-9a-f]{2}\")"
_RED = f"#[0-9a-f]{{1,2}}(?={_MARK})"
_GREEN = f'{_MARK}[0-9a-f](?=[0-9a-f]")|{_MARK}[0-9a-f]{{2}}'
_BLUE = f'(?<={_MARK}[0-9a-f]{{2}})[0-9a-f]{{2}}"|(?<={_MARK}[0-9a-f])[0-9a-f]"'
_MARKUP = (
    r"(?=[\"/<>]| [a-zA-Z0-9-]+=\")\"?(?:/?>|</[a-zA-Z]+>)*(?:<[a-zA-Z]+)?(?: (?:d=\"M|[a-zA-Z0-9-]+=\"))?"
)
_PIECES = "|".join(
    (
        _RED,
        _GREEN,
        _BLUE,
        r"1000|[0-9]{1,3}",
        _MARKUP,
        r" ?[a-zA-Z]+",  # words, path commands
        r"[^0-9a-zA-Z]",
    )
)
_NORMALIZER = normalizers.Sequence(
    [
        normalizers.Prepend(" "),  # a caption's first word is the same token as that word further on
        normalizers.Replace(Regex(_BEFORE_GREEN), _MARK),
    ]
)
_NUMBER_OR_COLOUR = re.compile(r"#[0-9a-f]{6}\"|#[0-9a-f]{3}|\d+(?![\d=])")  # not that of ` x1="`


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Learns the merges of words and markup from `texts`; numbers and colours are given, not learned."""
    learner = Tokenizer(models.BPE())
    learner.normalizer = _NORMALIZER
    learner.pre_tokenizer = _pre_tokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(_given_tokens()),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    learner.train_from_iterator((_NUMBER_OR_COLOUR.sub(" ", text) for text in texts), trainer)
    learned = json.loads(learner.to_str())["model"]
    tokenizer = Tokenizer(_with_given(learned["vocab"], [tuple(pair) for pair in learned["merges"]]))
    tokenizer.normalizer = _NORMALIZER
    tokenizer.pre_tokenizer = _pre_tokenizer()
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteLevel(), decoders.Replace(_MARK, ""), decoders.Strip(" ", 1, 0)]
    )
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
    """Token id of each number from 0 to 1000."""
    vocab = tokenizer.get_vocab()
    return {number: vocab[str(number)] for number in range(_LARGEST + 1)}


def channel_tokens(tokenizer: PreTrainedTokenizerFast) -> list[dict[int, int]]:
    """Value from 0 to 255 of each token that stands for red, for green and for blue."""
    vocab = tokenizer.get_vocab()
    values = [(f"{value:02x}", value) for value in range(256)]
    values += [(digit, int(digit * 2, 16)) for digit in _HEX]
    spelled = ("#{}", f"{_MARK_BYTE}{{}}", '{}"')
    return [{vocab[form.format(digits)]: value for digits, value in values} for form in spelled]


def markup_tokens(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What is read in drawings and stands in no caption: tags, attributes and channels of colours.

    Numbers and single signs are not among them: a caption may quote a drawn text.
    """
    end = tokenizer.eos_token
    return sorted(
        id
        for token, id in tokenizer.get_vocab().items()
        if token != end and len(token) > 1 and (token[0] in f"#{_MARK_BYTE}" or not _SIGNS.isdisjoint(token))
    )


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
    yield from (("100", "0"), ("1", "000"))


def _colour_merges() -> Iterator[tuple[str, str]]:
    pairs = [first + second for first, second in product(_HEX, _HEX)]
    yield from ((pair[0], pair[1]) for pair in pairs if not pair.isdigit())
    for digits in (*pairs, *_HEX):
        yield "#", digits
        yield _MARK_BYTE, digits
        yield digits, '"'


def _given_tokens() -> list[str]:
    return list(dict.fromkeys(first + second for first, second in (*_number_merges(), *_colour_merges())))


def _with_given(vocab: dict[str, int], merges: list[tuple[str, str]]) -> models.BPE:
    """The learned BPE with the merges of numbers before its own, and those of colours behind them."""
    numbers, colours = list(_number_merges()), list(_colour_merges())
    taken = set(numbers)
    merges = [pair for pair in merges if pair not in taken]
    taken.update(merges)
    merges = numbers + merges + [pair for pair in colours if pair not in taken]
    tokens = dict.fromkeys(sorted(vocab, key=vocab.__getitem__))
    tokens.update(dict.fromkeys(_given_tokens()))
    return models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges)
