from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.training.helpers import write_splits
from training.__main__ import main, with_command


def run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["training", *words])
    with pytest.raises(SystemExit) as exit_status:
        main()
    return int(exit_status.value.code or 0)


def answer(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Standard output, which must be one JSON object."""
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["embedded", "lora.r=8"], ["run", "embedded", "lora.r=8"]),
        (["--json", "embedded"], ["run", "--json", "embedded"]),
        (["run", "embedded"], ["run", "embedded"]),
        (["plan", "test3"], ["plan", "test3"]),
        (["corpus", "build"], ["corpus", "build"]),
        (["--help"], ["--help"]),
        ([], []),
    ],
)
def test_a_first_word_that_is_no_command_is_a_recipe(words: list[str], meant: list[str]) -> None:
    assert with_command(words) == meant


def test_plan_answers_in_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "test3-multi-gpu", "model=gemma-2-9b", "lora.r=8", "--json"], monkeypatch) == 0
    planned = answer(capsys)
    assert planned["trainable_parameters"] == 8_945_664
    assert planned["total_parameters"] == 9_241_705_984
    assert {"base_weights", "activations", "total"} <= planned["memory_gib"].keys()


def test_a_dry_run_checks_the_corpus_and_leaves_only_token_ids(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = write_splits(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = {*tmp_path.iterdir(), tmp_path / "runs"}
    words = ["test3-multi-gpu", f"model={tiny_llama}", f"corpus.train={files['train']}"]
    words += [f"corpus.validation={files['validation']}", "max_tokens=180", "--dry-run", "--json"]
    assert run(words, monkeypatch) == 0
    checked = answer(capsys)
    train = checked["splits"]["train"]
    assert train["samples"] + train["dropped"]["more than 180 tokens"] == 48
    assert train["longest_tokens"] <= 180
    assert checked["total_steps"] == 3 * (train["samples"] // 8)
    assert checked["recipe"]["lora"]["r"] == 16
    assert {*tmp_path.iterdir()} == before
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [".tokens"]


def test_generated_scenes_need_no_file(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "test3",
        f"model={tiny_llama}",
        "corpus.scenes.train=9",
        "corpus.scenes.validation=2",
        "--dry-run",
    ]
    assert run([*words, "--json"], monkeypatch) == 0
    assert answer(capsys)["splits"]["validation"]["samples"] <= 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["test3", "lora.ranks=8"], "Did you mean 'lora.r'?"),
        (["tets3"], "Did you mean 'test3'?"),
        (["test3", "model=lama-3.1-8b"], "Did you mean 'llama-3.1-8b'?"),
        (["test3", "--run", "../up"], "a name has"),
        (["test3", "--run", "embedded"], "name of a base model"),
    ],
)
def test_wrong_use_is_said_in_one_line(
    words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*words, "--json"], monkeypatch) == 2
    error = answer(capsys)["error"]
    assert error["type"] == "config"
    assert message in error["message"]


def test_what_a_setting_really_does_is_noted_before_the_run(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text("nothing")
    corpus = [f"corpus.train={bad}", f"corpus.validation={tmp_path / 'other.jsonl'}"]
    assert run(["test3", "lora.dora=true", f"model={tiny_llama}", *corpus, "--dry-run"], monkeypatch) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("Note: lora.dora: services run plain LoRA adapters only.")
    assert printed.out == ""


def test_a_corpus_that_cannot_be_read_fails_the_run(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"id": "a", "svg": "<svg/>", "references": []}\n')
    corpus = [f"corpus.train={bad}", f"corpus.validation={tmp_path / 'other.jsonl'}"]
    assert run(["test3", f"model={tiny_llama}", *corpus, "--dry-run"], monkeypatch) == 1
    assert "bad.jsonl line 1" in capsys.readouterr().err


def test_a_dry_run_needs_no_weights(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "without-weights"
    shutil.copytree(tiny_llama, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    monkeypatch.chdir(tmp_path)
    words = ["test3", f"model={folder}", "corpus.scenes.train=9", "corpus.scenes.validation=2", "--json"]
    assert run([*words, "--dry-run"], monkeypatch) == 0
    assert answer(capsys)["total_steps"] > 0
    assert run(words, monkeypatch) == 2
    assert "lacks *.safetensors" in answer(capsys)["error"]["message"]


def test_a_folder_that_cannot_be_written_is_said_in_one_line(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    words = ["test3", f"model={tiny_llama}", "corpus.scenes.train=9", "corpus.scenes.validation=2", "--json"]
    assert run([*words, "--runs-dir", str(file / "runs")], monkeypatch) == 1
    error = answer(capsys)["error"]
    assert (error["type"], str(file) in error["message"]) == ("os_error", True)
    adapters = ["--runs-dir", str(tmp_path / "runs"), "--adapters-dir", str(file / "adapters")]
    assert run([*words, *adapters], monkeypatch) == 2
    assert answer(capsys)["error"]["message"].startswith(f"--adapters-dir '{file / 'adapters'}' cannot be")
