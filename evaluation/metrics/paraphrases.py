"""METEOR's paraphrases, less those that the lines to be scored cannot match.

The program reads a table of five million pairs of phrases, which takes longer than scoring thousands of
lines. A pair matches only where one phrase is in a candidate and the other in a reference, and of several
matches the table's order decides. So the pairs whose phrases both occur, in the table's order, give the
same counts; the program's own normalizer says what the words of a text are.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pycocoevalcap.meteor import meteor as reference

from evaluation.errors import Unavailable
from evaluation.metrics.java import run_java

_JAR = Path(reference.__file__).with_name(reference.METEOR_JAR)
_TABLE = _JAR.parent / "data" / "paraphrase-en.gz"  # probability, phrase, phrase: three lines a pair
_NORMALIZER = ("-cp", _JAR.name, "edu.cmu.meteor.util.Normalizer", "en", "true")
_LONGEST = 7  # words in a phrase of the table
_BLOCK_BYTES = 2**23  # read at once; five times as many inflated


def write_table(path: Path, texts: Sequence[str], *, timeout_s: float) -> None:
    """Write the pairs that `texts`, each without a line break, may match, as the program reads them.

    Raises:
        Unavailable: see `run_java`; the whole table cannot be read, or `path` not be written.
    """
    try:
        with ThreadPoolExecutor(1) as threads, gzip.open(path, "wb", compresslevel=1) as file:
            blocks = threads.submit(list, _blocks())  # inflated while the normalizer runs
            normalized = run_java("METEOR", _NORMALIZER, texts, folder=_JAR.parent, timeout_s=timeout_s)
            phrases = {phrase for text in normalized for phrase in _phrases(text.lower().split())}
            file.writelines(_matching(phrases, blocks.result()))
    except (OSError, EOFError, zlib.error) as error:
        raise Unavailable(f"METEOR's paraphrases cannot be read from {_TABLE} or written: {error}") from error


def _phrases(words: Sequence[str]) -> Iterator[bytes]:
    for start in range(len(words)):
        for end in range(start + 1, min(start + _LONGEST, len(words)) + 1):
            yield b"%b\n" % " ".join(words[start:end]).encode("utf-8", "replace")


def _matching(phrases: set[bytes], blocks: Iterable[pa.BinaryArray]) -> Iterator[bytes]:
    """The lines of each pair of which both phrases are in `phrases`; lines and phrases end in a line break.

    Arrow looks the phrases up without the interpreter's lock, beside which other metrics are computed.
    """
    wanted = pa.array(phrases, pa.binary())
    for lines in blocks:
        is_first = pc.is_in(lines[1::3], value_set=wanted).to_numpy(zero_copy_only=False)
        for first in (np.flatnonzero(is_first) * 3 + 1).tolist():
            if lines[first + 1].as_py() in phrases:
                yield from lines[first - 1 : first + 2].to_pylist()


def _blocks() -> Iterator[pa.BinaryArray]:
    """The table's lines, some whole pairs at a time."""
    inflate, rest = zlib.decompressobj(zlib.MAX_WBITS | 16), b""  # 16: gzip's header and check sum
    with _TABLE.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            text = rest + inflate.decompress(block)
            ends = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n")) + 1
            offsets = np.concatenate(([0], ends[: len(ends) // 3 * 3])).astype(np.int32)
            buffers = [None, pa.py_buffer(offsets), pa.py_buffer(text)]
            yield pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)
            rest = text[offsets[-1] :]
    if not inflate.eof:
        raise EOFError("the file ends too early")
