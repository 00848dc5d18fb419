from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from training.follow import describe, following
from training.progress import MetricsLog

STEP: dict[str, Any] = {"loss": 1.5, "grad_norm": 0.25, "tokens_per_s": 1234.0}


def _wait_for(text: str, capsys: pytest.CaptureFixture[str]) -> str:
    shown = ""
    while text not in shown:
        time.sleep(0.05)
        shown += capsys.readouterr().err
    return shown


def test_every_tenth_step_and_all_else_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "metrics.jsonl"
    MetricsLog(path).write(
        "start", 0, workers=[{}], device="cpu", passed_over=[]
    )  # of before: not shown again
    with following(path, 40):
        log = MetricsLog(path)
        log.write("start", 0, workers=[{}, {}], device="cuda", passed_over=[])
        for step in range(1, 21):
            log.write("step", step, **STEP)
        log.write("captions", 20, captions=[{"id": "a", "caption": "A cat.", "reference": "A dog."}])
        log.write("validation", 20, loss=1.25, best=1.25)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "step 0/40: 2 worker(s) start on GPU",
        "step 10/40: loss 1.5000, gradient norm 0.250, 1,234 tokens/s",
        "step 20/40: loss 1.5000, gradient norm 0.250, 1,234 tokens/s",
        "  'A cat.' for 'A dog.'",
        "step 20/40: validation loss 1.2500 (best 1.2500)",
    ]


def test_a_log_that_a_resumed_run_shortens_is_followed_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "metrics.jsonl"
    with following(path, 40):
        log = MetricsLog(path)
        for step in range(1, 19):
            log.write("step", step, **STEP)
        _wait_for("step 10/40", capsys)
        log = MetricsLog(path, resumed_at=2)
        log.write("start", 2, workers=[{}], device="cpu", passed_over=[])
        for step in range(3, 21):
            log.write("step", step, **STEP | {"loss": 2.75})  # lines of other lengths than before
        log.write("step", 30, **STEP)
    assert "step 30/40: loss 1.5000" in capsys.readouterr().err


def test_an_unwritten_line_is_written_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(file: BinaryIO, lines: bytes) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    with monkeypatch.context() as patch:
        patch.setattr("training.progress.append", full)
        log.write("step", 1, **STEP)
    assert "No space left on device" in caplog.text
    log.write("step", 2, **STEP)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2]


def test_a_run_that_begins_again_writes_nothing_twice(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    log.write("start", 0, workers=[])
    log.write("validation", 0, loss=2.0)
    log.write("step", 1, **STEP)
    with path.open("ab") as file:
        file.write('{"event": "captions", "step": 0, "captions": "caf\u00e9'.encode()[:-1])  # a node is lost
    MetricsLog(path).write("start", 0, workers=[])
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["start", "start"]


def test_a_damaged_checkpoint_is_told(tmp_path: Path) -> None:
    event = {"event": "start", "step": 20, "workers": [{}], "device": "cpu", "passed_over": ["c-30: cut"]}
    assert describe(event, 40) == [
        "passed over, for it is damaged: c-30: cut",
        "step 20/40: 1 worker(s) go on from a checkpoint on CPU",
    ]


def test_a_terminal_gets_a_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes this for a terminal
    monkeypatch.setattr("sys.stderr.write", shown.append, raising=False)
    path = tmp_path / "metrics.jsonl"
    with following(path, 40):
        MetricsLog(path).write("step", 7, **STEP)
    text = "".join(shown)
    assert "7/40" in text
    assert "1,234 tokens/s" in text
