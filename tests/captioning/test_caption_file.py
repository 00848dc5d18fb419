"""The file of a bulk run: what it holds, and how an interrupted run goes on with it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from captioning.caption_file import Format, caption_file
from captioning.errors import OutputError

SETTINGS: dict[str, Any] = {"model": "icons", "n": 1}
FORMATS: list[Format] = ["jsonl", "csv"]


def done(file: str, sha256: str = "a1", texts: tuple[str, ...] = ("A house.",)) -> dict[str, Any]:
    return {
        "file": file,
        "sha256": sha256,
        "captions": [{"text": text, "finish_reason": "stop"} for text in texts],
        "usage": {"prompt_tokens": 30, "completion_tokens": 4},
        "svg": {"width": 8.0, "height": 8.0, "elements": 2, "removed": ["script (1)"], "warnings": []},
    }


def failed(file: str, sha256: str | None = None) -> dict[str, Any]:
    final = {"sha256": sha256} if sha256 else {}
    return {"file": file, **final, "error": {"type": "not_svg", "message": "no svg"}}


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_final_is_not_done_again(tmp_path: Path, form: Format) -> None:
    names = ("=1+1.svg", "line\nbreak.svg", "umlaut-ü.svg", "no-unicode-\udcff.svg")
    path = tmp_path / "sub" / f"out.{form}"
    with caption_file(path, form, SETTINGS) as file:
        assert not file.resumes
        for name in names:
            assert file.claim(name, "a1")
            assert not file.claim(name, "a1")
            file.append(done(name))
        file.append(failed("bad.svg", "b2"))
        file.append(failed("away.svg"))
    with caption_file(path, form, SETTINGS) as file:
        assert file.resumes
        assert not any(file.claim(name, "a1") for name in names)
        assert not file.claim("bad.svg", "b2")
        assert file.claim("away.svg", "c3")
        assert file.claim(names[0], "changed")


@pytest.mark.parametrize("form", FORMATS)
def test_a_torn_line_is_dropped(tmp_path: Path, form: Format) -> None:
    path = tmp_path / "out"
    with caption_file(path, form, SETTINGS) as file:
        file.append(done("one.svg"))
        whole = path.read_bytes()
        file.append(done("two.svg"))
    for torn in range(len(whole), path.stat().st_size):
        path.write_bytes(path.read_bytes()[:torn])
        with caption_file(path, form, SETTINGS) as file:
            assert path.read_bytes() == whole
            assert not file.claim("one.svg", "a1")
            assert file.claim("two.svg", "a1")
            file.append(done("two.svg"))


def test_a_table_for_spreadsheets(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with caption_file(path, "csv", {"n": 2}) as file:
        file.append(done("a.svg", texts=("=cmd()", 'A "dog", and\x1b a cat.')))
        file.append(failed("b.svg"))
    first, second = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    assert (first["caption_1"], first["caption_2"]) == ("'=cmd()", 'A "dog", and\\x1b a cat.')
    assert (first["completion_tokens"], first["removed"], first["error"]) == ("4", "script (1)", "")
    assert (second["file"], second["caption_1"], second["error"]) == ("b.svg", "", "not_svg")


def test_one_file_holds_one_kind_of_captions(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with caption_file(path, "jsonl", SETTINGS) as file:
        file.append(done("a.svg"))
    with (
        pytest.raises(OutputError, match="written with model = 'icons', now it is 'logos'"),
        caption_file(path, "jsonl", SETTINGS | {"model": "logos"}),
    ):
        pass
    with pytest.raises(OutputError, match="format = 'jsonl'"), caption_file(path, "csv", SETTINGS):
        pass
    path.with_name("out.jsonl.run.json").unlink()
    with pytest.raises(OutputError, match="no run of this command"), caption_file(path, "jsonl", SETTINGS):
        pass


@pytest.mark.parametrize("line", [b"hello\n", b"[]\n", b'{"sha256": "a1"}\n', b"\xff\n"])
def test_a_line_of_something_else_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "out.jsonl"
    with caption_file(path, "jsonl", SETTINGS) as file:
        file.append(done("a.svg"))
    path.write_bytes(path.read_bytes() + line)
    with pytest.raises(OutputError, match=r"out\.jsonl line 2: "), caption_file(path, "jsonl", SETTINGS):
        pass


def test_two_runs_do_not_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with (
        caption_file(path, "jsonl", SETTINGS),
        pytest.raises(OutputError, match="another run"),
        caption_file(path, "jsonl", SETTINGS),
    ):
        pass
