"""The real commands, as a person or a job runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rendering.__main__ import app
from tests.rendering.drawings import picture, svg

ROOT = Path(__file__).parents[2]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rendering", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def answer(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one JSON object on standard output."""
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


@pytest.fixture
def icon(tmp_path: Path) -> Path:
    file = tmp_path / "icon.svg"
    file.write_bytes(svg('<circle cx="50" cy="50" r="40" fill="red" onclick="alert(1)"/>'))
    return file


@pytest.fixture
def letter(tmp_path: Path) -> Path:
    file = tmp_path / "letter.svg"
    file.write_text("Dear Sir or Madam")
    return file


def test_render(icon: Path, tmp_path: Path) -> None:
    output = tmp_path / "icon.png"
    done = run("render", icon, "-o", output, "--size", "64")
    assert (done.returncode, done.stdout) == (0, "")
    assert "64 x 64 px, cairosvg" in done.stderr
    assert "event handler (1)" in done.stderr
    assert picture(output.read_bytes()).getpixel((32, 32)) == (255, 0, 0)


def test_render_as_json_with_another_renderer(icon: Path, tmp_path: Path) -> None:
    done = run("render", icon, "-o", tmp_path / "icon.png", "--backend", "resvg", "--json")
    assert done.returncode == 0
    assert answer(done)["backend"].startswith("resvg ")
    assert answer(done)["removed"] == ["event handler (1)"]


def test_check(icon: Path, letter: Path) -> None:
    done = run("check", icon, letter)
    assert done.returncode == 1
    assert "100 x 100" in done.stdout
    found = answer(run("check", icon, letter, "--json"))
    assert (found["accepted"], found["refused"]) == (1, 1)
    assert found["files"][1]["error"]["type"] == "not_svg"
    assert run("check", icon).returncode == 0


def test_canonicalize(icon: Path) -> None:
    done = run("canonicalize", icon)
    assert done.returncode == 0
    assert done.stdout.startswith('<svg viewBox="0 0 1000 1000"><circle')
    assert answer(run("canonicalize", icon, "--json"))["canonical"] == done.stdout.rstrip("\n")


def test_compare(icon: Path, letter: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("compare", tmp_path, "--out", out, "--json")
    assert done.returncode == 0
    found = answer(done)
    assert (found["backends"]["cairosvg"]["drawn"], found["refused"]) == (1, {"not_svg": 1})
    assert json.loads((out / "comparison.json").read_text()) == found
    assert (out / "comparison.html").read_text().startswith("<!doctype html>")
    assert "icon.svg: cairosvg drawn, resvg drawn" in done.stderr


def test_a_refused_file_fails_with_one_line(letter: Path) -> None:
    done = run("canonicalize", letter)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("SvgRejected: ")
    assert len(done.stderr.splitlines()) == 1
    done = run("canonicalize", letter, "--json")
    assert done.returncode == 1
    assert answer(done)["error"]["type"] == "not_svg"


@pytest.mark.parametrize(
    "arguments",
    [
        ("canonicalize", "no-such-file.svg"),
        ("check",),
        ("render", "FILE"),
        ("render", "FILE", "-o", "x.png", "--backend", "paint"),
        ("render", "FILE", "-o", "x.png", "--background", "wite"),
        ("render", "FILE", "-o", "x.png", "--size", "0"),
        ("compare", "no-such-folder"),
        ("compare", str(ROOT / "rendering"), "--backends", "cairosvg,paint"),
        ("compare", str(ROOT / "rendering")),  # a folder without a drawing
        ("draw",),
    ],
)
def test_wrong_use_has_status_2(arguments: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [argument.replace("FILE", __file__) for argument in arguments])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "Usage:" in done.stderr
