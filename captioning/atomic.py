"""Folders, files and lines that appear as a whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `folder` when the block ends well."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as workplace:
        unfinished = Path(workplace) / "new"
        unfinished.mkdir()
        yield unfinished
        if folder.exists():
            folder.rename(Path(workplace) / "old")
        unfinished.rename(folder)


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """A path to write to: the file takes the place of `path` when the block ends well, once on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as workplace:
        unfinished = Path(workplace) / path.name
        yield unfinished
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write a file anew; until all of it is on the disk, what was there before stays."""
    with replacing_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def append(file: BinaryIO, lines: bytes) -> None:
    """Add to the end of an unbuffered file: with the operating system before this returns.

    Raises:
        OSError: a full disk, for example; the file is as it was.
    """
    end = file.seek(0, os.SEEK_END)
    try:
        if file.write(lines) < len(lines):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), file.name)
    except OSError:
        file.truncate(end)
        raise
