from __future__ import annotations

from pathlib import Path

import pytest

from rendering.sources import files_in


def test_files_folders_and_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b/two.svg", "b/c/three.SVGZ", "b/one.svg", "b/note.txt", "x[1].svg", "y.svg"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    Path("b/folder.svg").mkdir()

    def found(*places: str | Path) -> list[str]:
        return list(map(str, files_in(map(Path, places))))

    assert found("b") == ["b/c/three.SVGZ", "b/one.svg", "b/two.svg"]
    assert found("b/**/*") == found("b")
    assert found(tmp_path / "?.svg", "missing.svg", "b/note.txt") == [
        str(tmp_path / "y.svg"), "missing.svg", "b/note.txt",
    ]  # fmt: skip
    assert found("x[1].svg") == ["x[1].svg"]  # a name that is there is no pattern


def test_a_folder_that_cannot_be_listed_is_not_passed_over(tmp_path: Path) -> None:
    """Root may read everything, so a link into itself stands for what no one can list."""
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert list(files_in([tmp_path / "loop"])) == [loop]
