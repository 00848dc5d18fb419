"""Where a command finds its SVG files: files, folders and patterns, or the samples of a corpus."""

from __future__ import annotations

import glob
import hashlib
import heapq
import json
import os
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


def files_in(places: Iterable[Path]) -> Iterator[Path]:
    """The SVG files of all places in their order: a file, a folder and all below it, or a glob pattern.

    One path at a time, so that any number of files takes little memory. What is neither of the three is
    given as it is: whoever reads it hears that it is not there.
    """
    for place in places:
        if place.is_dir():
            yield from _below(place)
        elif not place.exists() and glob.has_magic(str(place)):
            found = glob.glob(str(place), recursive=True)  # noqa: PTH207 - it may begin at the root
            yield from map(Path, filter(_is_svg, sorted(found)))
        else:
            yield place


def choose(sources: Iterable[Source], count: int, seed: int) -> list[Source]:
    """A random choice that the ids and the seed alone decide, in whatever order the files come."""
    return heapq.nsmallest(count, sources, key=lambda source: _lot(source, seed))


def read_file(path: Path) -> bytes:
    """The bytes of a file; of a huge one only the beginning, which `load` refuses for its size."""
    with path.open("rb") as stream:
        return stream.read(_MOST_BYTES)


def _in_folder(folder: Path) -> Iterator[Source]:
    for file in _below(folder):
        yield Source(file.relative_to(folder).as_posix(), partial(read_file, file))


def _below(folder: Path) -> Iterator[Path]:
    """In the order of their paths; a folder that cannot be listed stands for what would be in it."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        yield folder
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _below(Path(entry.path))
        elif _is_svg(entry.path):
            yield Path(entry.path)


def _is_svg(path: str) -> bool:
    return path.lower().endswith(_SUFFIXES) and Path(path).is_file()


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
