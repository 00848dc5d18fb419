"""The command: once in a process of its own, then in this one, which has waited for torch already."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from captioning.__main__ import main
from captioning.engine import Engine
from tests.captioning.completions_server import CompletionsServer, serving

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><circle r="3"/><script>1</script></svg>'


@pytest.fixture
def drawing(tmp_path: Path) -> Path:
    path = tmp_path / "good.svg"
    path.write_text(SVG)
    return path


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command in this process; gives its exit status, output and errors."""

    def run_main(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["captioning", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return (int(end.value.code or 0), *capsys.readouterr())

    return run_main


def test_one_bad_file_does_not_keep_the_others(
    drawing: Path, llama: Path, icons: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.svg"
    bad.write_text("hello")
    files = (drawing, bad, tmp_path / "missing.svg", drawing)
    options = ("--model", llama, "--adapter", icons, "--max-new-tokens", "5", "--json")
    command = [sys.executable, "-m", "captioning", *map(str, (*files, *options))]
    result = subprocess.run(command, capture_output=True, text=True, timeout=550, check=False)
    assert result.returncode == 1, result.stderr
    answer = json.loads(result.stdout)
    assert {key: answer[key] for key in ("model", "base_model", "captioned", "failed")} == {
        "model": "icons",
        "base_model": "tiny-llama",
        "captioned": 2,
        "failed": 2,
    }
    first, refused, missing, again = answer["files"]
    assert first == again
    assert first["svg"] == {
        "width": 10,
        "height": 10,
        "elements": 2,
        "removed": ["script (1)"],
        "warnings": [],
    }
    assert first["usage"]["completion_tokens"] <= 5
    assert refused["error"]["type"] == "not_svg"
    assert missing["error"]["type"] == "system"
    assert "Warning" not in result.stderr


def test_captions_for_people(run: Run, drawing: Path, llama: Path) -> None:
    status, output, errors = run(drawing, "--model", llama, "--max-new-tokens", "5")
    assert status == 0
    assert output.startswith(f"{drawing}: ")
    assert output.count("\n") == 1
    assert errors.strip() == "Removed: script (1)"


def test_a_broken_adapter_is_one_line(run: Run, drawing: Path, llama: Path, tmp_path: Path) -> None:
    arguments = (drawing, "--model", llama, "--adapter", tmp_path)
    status, output, _ = run(*arguments, "--json")
    assert (status, json.loads(output)["error"]["type"]) == (1, "adapter")
    status, output, errors = run(*arguments)
    assert (status, output) == (1, "")
    assert errors.startswith("AdapterError: ")
    assert errors.count("\n") == 1


def test_into_a_file_and_on(run: Run, drawing: Path, llama: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    options = ("--model", llama, "--max-new-tokens", "5", "-o", output, "--format", "csv")
    sampled = (*options, "--n", "2", "--temperature", "1", "--seed", "3")
    missing = tmp_path / "missing.svg"
    status, shown, errors = run(drawing, missing, *sampled)
    assert status == 1
    assert shown == f"{output}: 1 captioned, 1 failed.\n"
    assert "2 of 2 files, 1 failed" in errors
    missing.write_text(SVG)
    status, shown, _ = run(tmp_path, *sampled, "--json")
    counts = {"captioned": 1, "failed": 0, "done_before": 1, "interrupted": False}
    models = {"model": "tiny-llama", "base_model": "tiny-llama"}
    assert (status, json.loads(shown)) == (0, models | counts | {"output": str(output)})
    assert len(output.read_text().splitlines()) == 4
    status, _, errors = run(drawing, *options)
    assert status == 1
    assert errors.startswith("OutputError: ")


def test_with_a_model_that_a_server_runs(run: Run, drawing: Path, llama: Path, icons: Path) -> None:
    options = (drawing, "--model", llama, "--adapter", icons, "--max-new-tokens", "5")
    expected = run(*options)
    runs = Engine.load(str(llama))  # as the command loads it
    with serving(CompletionsServer(runs)) as server:
        assert run(*options, "--engine-url", server.url, "--engine-loads-adapters") == expected
        assert len(server.asked) == 1
    runs.close()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--model", "embeded", "a.svg"),
        ("--adapter", "nowhere", "a.svg"),
        ("--format", "xml", "a.svg"),
        ("--n", "2", "a.svg"),
    ],
)
def test_wrong_use(run: Run, arguments: tuple[str, ...]) -> None:
    status, output, errors = run(*arguments)
    assert (status, output) == (2, "")
    assert "Usage:" in errors
