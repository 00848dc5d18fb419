"""Where a command finds its SVG files: a folder, or the samples of a corpus."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rendering.errors import SvgRejected

_MOST_BYTES = 128 << 20  # of a file: far beyond what is accepted, and still no danger to this process
_SUFFIXES = (".svg", ".svgz")


@dataclass(frozen=True)
class Source:
    """One file to draw; its bytes are read only when it is its turn."""

    id: str
    read: Callable[[], bytes]


def sources_in(path: Path) -> Iterator[Source]:
    """The SVG files under a folder in the order of their paths, or the samples of a JSON Lines corpus.

    Raises:
        SvgRejected: a line of the corpus is no object with the strings `id` and `svg` (code `bad_corpus`).
    """
    return _in_folder(path) if path.is_dir() else _in_corpus(path)


def choose(sources: Iterable[Source], count: int, seed: int) -> list[Source]:
    """A random choice that the ids and the seed alone decide, in whatever order the files come."""
    return heapq.nsmallest(count, sources, key=lambda source: _lot(source, seed))


def read_file(path: Path) -> bytes:
    """The bytes of a file; of a huge one only the beginning, which `load` refuses for its size."""
    with path.open("rb") as stream:
        return stream.read(_MOST_BYTES)


def _in_folder(folder: Path) -> Iterator[Source]:
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in _SUFFIXES and file.is_file():
            yield Source(file.relative_to(folder).as_posix(), partial(read_file, file))


def _in_corpus(corpus: Path) -> Iterator[Source]:
    with corpus.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                sample = json.loads(line)
                identifier, svg = sample["id"], sample["svg"]
                if not (isinstance(identifier, str) and isinstance(svg, str)):
                    raise TypeError("both must be strings")
            except (ValueError, KeyError, TypeError) as error:
                raise SvgRejected(
                    f"{corpus} line {number}: not a sample with 'id' and 'svg': {error}", "bad_corpus"
                ) from None
            yield Source(identifier, partial(svg.encode, errors="surrogatepass"))


def _lot(source: Source, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{source.id}".encode()).digest()
