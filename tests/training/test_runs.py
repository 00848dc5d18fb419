from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from captioning.errors import ConfigError
from tests.training.run_folders import log, make_run, worker
from training.runs import find_run, read_run


def finished_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_run_is_found_by_folder_and_by_name(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "runs" / "icons", steps=20, recipe={"lora": {"r": 8}})
    assert find_run("icons", tmp_path / "runs") == find_run(str(folder), Path("nowhere")) == read_run(folder)
    run = read_run(folder)
    assert run.recipe["lora.r"] == 8
    assert [step for step, _ in run.validation_losses] == [0, 10, 20]
    assert run.training_losses[-1][0] == 20
    with pytest.raises(ConfigError, match=r"no run 'icon'\. In '.*runs': icons\."):
        find_run("icon", tmp_path / "runs")
    with pytest.raises(ConfigError, match="In 'nowhere': none"):
        find_run("icon", Path("nowhere"))


def test_a_run_that_has_not_ended_says_so(tmp_path: Path) -> None:
    assert read_run(make_run(tmp_path / "done", status="stopped_early")).status == "stopped early"
    folder = make_run(tmp_path / "going", status=None)
    assert read_run(folder).status == "unfinished"
    log(folder, event="start", step=40, workers=[worker(), worker(finished_pid())])
    assert read_run(folder).status == "running"
    log(folder, event="start", step=40, workers=[worker(finished_pid()), {"host": "elsewhere", "pid": 1}])
    assert read_run(folder).status == "unfinished"


def test_a_failed_run_tells_why(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "failed", status=None)
    (folder / "failed_step.json").write_text("[]")
    assert (read_run(folder).status, read_run(folder).diagnosis) == ("failed", None)
    log(folder, event="stopped", step=40, status="failed", diagnosis="step 41: the loss is nan")
    assert (read_run(folder).status, read_run(folder).diagnosis) == ("failed", "step 41: the loss is nan")
    log(folder, event="start", step=40, workers=[worker()])  # mended, and begun again
    assert (read_run(folder).status, read_run(folder).diagnosis) == ("running", None)


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "killed", steps=5, status=None)
    log(folder, event="captions", step=5, captions=[{"caption": "a line\u2028separator"}])
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"event": "step", "st')
    assert [step for step, _ in read_run(folder).training_losses] == [1, 2, 3, 4, 5]


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is no run: it holds no recipe\.yaml"):
        read_run(tmp_path)
    folder = make_run(tmp_path / "broken")
    (folder / "result.json").write_text(json.dumps({"run": "broken"})[:5])
    with pytest.raises(ConfigError, match="broken' cannot be read: "):
        read_run(folder)


def test_reading_loads_no_model_library() -> None:
    code = "import sys, training.compare_report; print({'torch', 'ray', 'transformers'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"set()\n"
