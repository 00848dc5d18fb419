"""Folders that appear as a whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
