"""Captions as pycocoevalcap counts their words: the Stanford PTB tokenizer, without punctuation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pycocoevalcap.tokenizer import ptbtokenizer

from evaluation.metrics.java import run_java

# Each of these ends a line for the tokenizer, which works line by line: a caption that held one would
# shift all later captions. Checked against every character of the basic multilingual plane.
_LINE_BREAK = re.compile("[\n\v\f\r\u2028\u2029]")
_JAR = Path(ptbtokenizer.__file__).with_name(ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR)
_COMMAND = ("-cp", _JAR.name, "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase")
_PUNCTUATION = frozenset(ptbtokenizer.PUNCTUATIONS)


@dataclass(frozen=True)
class Tokenized:
    """Candidates and references as lower-case tokens with spaces between; `references[i]` is sample i's."""

    candidates: list[str]
    references: list[list[str]]

    def __len__(self) -> int:
        return len(self.candidates)


def tokenize_all(candidates: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> list[Tokenized]:
    """Tokenize several captioners' candidates and the references, in one run of the tokenizer.

    Raises:
        Unavailable: see `run_java`.
    """
    groups = [*candidates, *references]
    tokens = iter(tokenize([text for texts in groups for text in texts]))
    tokenized = [list(islice(tokens, len(texts))) for texts in groups]
    return [Tokenized(texts, tokenized[len(candidates) :]) for texts in tokenized[: len(candidates)]]


def tokenize(captions: Sequence[str]) -> list[str]:
    """The tokens of each caption, which may be none."""
    lines = [_LINE_BREAK.sub(" ", caption) for caption in captions]
    answers = run_java(
        "The PTB tokenizer", _COMMAND, lines, folder=_JAR.parent, timeout_s=120 + len(lines) / 100
    )
    return [
        " ".join(word for word in line.split(" ") if word and word not in _PUNCTUATION) for line in answers
    ]
