"""METEOR 1.5 (Denkowski and Lavie, 2014): the original Java program aligns, the score is computed here.

The program answers each pair with 23 counts, and scores a corpus from their sums. Taking the counts
makes resampling possible and one pass of input enough; the formula is the program's own for English.
A line's counts hang on no other line, so that several processes share the lines and the corpus score,
made of sums, stays the same to the last digit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pycocoevalcap.meteor import meteor as reference

from evaluation.errors import Unavailable
from evaluation.metrics.java import run_java
from evaluation.metrics.paraphrases import write_table
from evaluation.metrics.statistics import Floats, Measured
from evaluation.metrics.tokens import Tokenized

_JAR = Path(reference.__file__).with_name(reference.METEOR_JAR)
_LINES_A_PROCESS = 1_000  # to start a process takes as long as to score so many
_MOST_PROCESSES = 8  # each may take 2 GB
_COMMAND = ("-Xmx2G", "-jar", _JAR.name, "-", "-", "-stdio", "-l", "en", "-norm", "-a")

# Of the counts that come for candidate and reference: how long, and how many words were matched.
N_STATISTICS = 23
_LENGTH, _CHUNKS, _MATCHED = slice(0, 2), 20, slice(21, 23)
_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.20, 0.60, 0.75
_STAGE_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])  # exact, stem, synonym, paraphrase


def meteor(captioners: Sequence[Tokenized], *, timeout_s: float | None = None) -> list[Measured]:
    """METEOR of each captioner's corpus, which is not the mean of its samples; equal lines are scored once.

    Raises:
        Unavailable: no Java, or the program failed or took longer than `timeout_s` (by default some
            five minutes, and more for many samples).
    """
    lines = [line for tokens in captioners for line in _lines(tokens)]
    different = list(dict.fromkeys(lines))
    by_line = dict(zip(different, _in_processes(different, timeout_s), strict=True))
    counts = iter([by_line[line] for line in lines])
    signature = f"meteor|v:1.5|lang:en|norm|tok:ptb-3.4.1|pycocoevalcap:{version('pycocoevalcap')}"
    return [
        Measured("meteor", np.array(list(islice(counts, len(tokens)))), _meteor, signature)
        for tokens in captioners
    ]


def _in_processes(lines: Sequence[str], timeout_s: float | None) -> Iterator[list[float]]:
    """The counts of each line, in order.

    Raises:
        Unavailable: see `meteor`.
    """
    n_processes = min(len(os.sched_getaffinity(0)), _MOST_PROCESSES, -(-len(lines) // _LINES_A_PROCESS))
    shares = [lines[start::n_processes] for start in range(n_processes)]
    timeout_s = 300 + len(lines) / 10 if timeout_s is None else timeout_s

    with _temporary_folder() as folder:
        table = Path(folder, "paraphrases.gz")
        write_table(table, _texts(lines), timeout_s=timeout_s)

        def answers(share: Sequence[str]) -> list[str]:
            command = (*_COMMAND, str(table))
            return run_java("METEOR", command, share, folder=_JAR.parent, timeout_s=timeout_s)

        with ThreadPoolExecutor(n_processes) as threads:
            shared = list(threads.map(answers, shares))
    for index, line in enumerate(lines):
        yield _counts(line, shared[index % n_processes][index // n_processes])


def _temporary_folder() -> TemporaryDirectory[str]:
    try:
        return TemporaryDirectory()
    except OSError as error:
        raise Unavailable(f"METEOR needs a temporary folder (TMPDIR): {error}") from error


def _lines(tokens: Tokenized) -> Iterator[str]:
    for candidate, references in zip(tokens.candidates, tokens.references, strict=True):
        yield " ||| ".join(["SCORE", *map(_without_bars, references), _without_bars(candidate)])


def _texts(lines: Sequence[str]) -> list[str]:
    """The different candidates and references, as the program parts the lines."""
    return list(dict.fromkeys(text.strip() for line in lines for text in line.split("|||")[1:]))


def _without_bars(text: str) -> str:
    """Three bars part the fields of a line."""
    return text.replace("|||", "").replace("  ", " ")


def _counts(line: str, answer: str) -> list[float]:
    try:
        counts = [float(count) for count in answer.split()]
    except ValueError:
        counts = []
    if len(counts) != N_STATISTICS:
        raise Unavailable(f"METEOR answered {answer[:100]!r} to {line[:100]!r}")
    if counts[_CHUNKS] == 1 and counts[_MATCHED] == counts[_LENGTH]:
        counts[_CHUNKS] = 0.0  # a candidate equal to its reference is not fragmented at all
    return counts


def _meteor(sums: Floats) -> Floats:
    """Weighted F-mean, less a penalty for matches in many chunks; shape (..., 23) -> (...)."""
    length, function_words = sums[..., _LENGTH], sums[..., 2:4]  # (..., 2)
    stages = sums[..., 4:20].reshape(*sums.shape[:-1], 4, 4)  # (..., stage, content words and function words)
    matches = _weighted(_STAGE_WEIGHTS @ stages[..., 0:2], _STAGE_WEIGHTS @ stages[..., 2:4])
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = matches / _weighted(length - function_words, function_words)
        precision, recall = shares[..., 0], shares[..., 1]
        f_mean = 1 / ((1 - _ALPHA) / precision + _ALPHA / recall)
        fragmentation = sums[..., _CHUNKS] / sums[..., _MATCHED].mean(axis=-1)
        score = f_mean * (1 - _GAMMA * fragmentation**_BETA)
    return np.where(np.isnan(score), 0.0, score)  # no match


def _weighted(content_words: Floats, function_words: Floats) -> Floats:
    return _DELTA * content_words + (1 - _DELTA) * function_words
