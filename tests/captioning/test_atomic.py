"""Files and lines that are written as a whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from captioning.atomic import append, replacing_file


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    """A file that takes only a part of what is written, as a disk does that is full."""
    path = tmp_path / "out"

    class Full:
        name = str(path)

        def __init__(self) -> None:
            self.file = path.open("a+b", buffering=0)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def write(self, data: bytes) -> int:
            return self.file.write(data[:3])

    path.write_text("before\n")
    full: Any = Full()
    with full.file, pytest.raises(OSError, match="No space left"):
        append(full, b"a line\n")
    assert path.read_text() == "before\n"


def test_a_file_is_replaced_only_when_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with replacing_file(path) as unfinished:
        unfinished.write_text("before")
        assert not path.exists()

    def fail() -> None:
        with replacing_file(path) as unfinished:
            unfinished.write_text("aft")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert path.read_text() == "before"
    assert list(path.parent.iterdir()) == [path]
