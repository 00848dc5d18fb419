"""The job scripts submit what the packages accept, and what a job leaves is found again by its run id."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from deploy.jobs.runs import Store, _status
from services.settings import Settings
from training.recipe import load_recipe

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
RUNS = [sys.executable, str(DEPLOY / "jobs/runs.py")]
JOBS = sorted(path.name for path in (DEPLOY / "jobs").glob("*.sh") if path.name != "submit.sh")


def submitted(job: str, folder: Path, **environment: str) -> list[str]:
    """The arguments of `ray` that a job script gives, taken down by a stand-in."""
    ray, arguments = folder / "ray", folder / "arguments"
    ray.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {arguments}\n', encoding="utf-8")
    ray.chmod(0o755)
    settings = {"RAY": str(ray), "RUNS_DIR": str(folder / "runs"), "RAY_API_SERVER_ADDRESS": "stand-in"}
    settings |= environment
    subprocess.run([DEPLOY / "jobs" / job], check=True, env=os.environ | settings, capture_output=True)
    return arguments.read_text(encoding="utf-8").splitlines()


def command_of(job: str, folder: Path, **environment: str) -> list[str]:
    """The arguments of `python` that the job ends in."""
    words = submitted(job, folder, **environment)
    return words[words.index("-m") :]


def succeeds(arguments: list[str]) -> None:
    finished = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr


def runs(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*RUNS, *arguments], capture_output=True, text=True, check=False, env=os.environ | environment
    )


def test_serve_config_has_valid_settings() -> None:
    config = ServeDeploySchema.model_validate(yaml.safe_load((DEPLOY / "serve.yaml").read_text()))
    (application,) = config.applications
    settings = Settings.model_validate(application.args)
    assert (settings.host, settings.port) == (config.http_options.host, config.http_options.port)


@pytest.mark.parametrize("job", JOBS)
def test_job_submits_options_that_its_package_knows(job: str, tmp_path: Path) -> None:
    succeeds([*command_of(job, tmp_path), "--help"])  # an unknown option is reported before help is given


@pytest.mark.parametrize("job", ["llama_te.sh", "gemma_te.sh"])
def test_training_job_names_a_recipe_and_takes_overrides(job: str, tmp_path: Path) -> None:
    words = command_of(job, tmp_path, MODEL="embedded")
    recipe = load_recipe(words[2], [word for word in words if "=" in word])
    assert (recipe.model, recipe.resources.workers, recipe.lora.r) == ("embedded", 2, 16)


@pytest.mark.parametrize(("limit", "seconds"), [({}, "86400"), ({"TIME_LIMIT": "60"}, "60")])
def test_scoring_job_scores_what_is_done_when_its_time_is_up(
    limit: dict[str, str], seconds: str, tmp_path: Path
) -> None:
    words = submitted("ext_capt.sh", tmp_path, **limit)
    assert words.count("--time-limit") == 1, "nothing interrupts it"
    assert words.index("--time-limit") > words.index("evaluation")
    assert words[words.index("--time-limit") + 1] == seconds


def test_renderer_comparison_job_runs(tmp_path: Path) -> None:
    words = submitted("test_svg.sh", tmp_path, CORPUS="services/samples", RUN="five")
    job = words[words.index("--") + 2 :]
    assert subprocess.run([sys.executable, *job], cwd=ROOT, check=False).returncode == 0
    assert (tmp_path / "runs/five/comparison.html").exists()
    assert json.loads((tmp_path / "runs/five/job.json").read_text())["status"] == 0


def test_job_takes_the_run_that_is_named(tmp_path: Path) -> None:
    fresh, again = (submitted("llama_te.sh", tmp_path, **named) for named in ({}, {"RUN": "mine"}))
    for words in (fresh, again):
        run = words[words.index("--runs") + 2]
        assert words[words.index("--submission-id") + 1].startswith(run)
        assert words[words.index("--runs") + 1] == str(tmp_path / "runs")
    assert re.fullmatch(r"llama_te-\d{8}-\d{6}", fresh[fresh.index("--runs") + 2])
    assert again[again.index("--runs") + 2] == "mine"
    assert again[again.index("--submission-id") + 1] != "mine"  # Ray takes an id only once


@pytest.mark.parametrize("apart", [False, True], ids=["shared folder", "as in a bucket"])
def test_run_is_kept_with_its_status_and_goes_on(tmp_path: Path, apart: bool) -> None:
    work = {"WORK_DIR": str(tmp_path / "work")} if apart else {}
    script = 'mkdir -p "$0" && echo step >> "$0/steps" && exit 3'
    for _ in range(2):
        command = ["execute", "--runs", str(tmp_path / "runs"), "a", "--", "sh", "-c", script, "@runs/@run"]
        finished = runs(*command, **work)
        assert finished.returncode == 3, finished.stderr
    assert (tmp_path / "runs/a/steps").read_text() == "step\nstep\n"
    shown = runs("show", "a", "--runs", str(tmp_path / "runs"), "--to", str(tmp_path / "copy"))
    assert "status 3" in shown.stdout
    assert (tmp_path / "copy/a/steps").read_text() == "step\nstep\n"


def test_a_run_is_kept_in_a_bucket_and_goes_on_from_there(bucket: str, tmp_path: Path) -> None:
    place = ["--runs", f"{bucket}/runs"]
    script = 'mkdir -p "$0/checkpoint" && echo step >> "$0/checkpoint/steps" && exit 3'
    for _ in range(2):
        finished = runs("execute", *place, "a", "--", "sh", "-c", script, "@runs/@run")
        assert finished.returncode == 3, finished.stderr
    assert re.fullmatch(r"a  \S+  status 3 \S+\n", runs("list", *place).stdout)
    shown = runs("show", "a", *place, "--to", str(tmp_path))
    assert "10  checkpoint/steps" in shown.stdout, shown.stderr
    assert (tmp_path / "a/checkpoint/steps").read_text() == "step\nstep\n"
    nowhere = runs("execute", "--runs", "s3://nowhere/runs", "a", "--", "true")
    assert nowhere.returncode != 0
    assert "nowhere" in nowhere.stderr
    assert "Traceback" not in nowhere.stderr


def test_what_changes_is_kept_while_the_command_runs(tmp_path: Path) -> None:
    """A killed driver takes little with it, and checkpoints that were deleted do not come back."""
    work, store = tmp_path / "work" / "a", Store(str(tmp_path / "runs"))
    (work / "checkpoint-1").mkdir(parents=True)
    (work / "checkpoint-1" / "state").write_text("1")
    (work / "log").write_text("one line")
    store.write_record("a", {})
    keep = partial(store.keep, "a", work)
    code = f"""
import shutil, time
from pathlib import Path
time.sleep(0.5)
shutil.rmtree({str(work / "checkpoint-1")!r})
Path({str(work / "log")!r}).write_text("two lines")
time.sleep(60)"""
    keep()
    assert store.files("a") == {"checkpoint-1/state": 1, "job.json": 2, "log": 8}
    kept = tmp_path / "runs" / "a"
    unchanged = (kept / "log").stat().st_mtime_ns
    keep()
    assert (kept / "log").stat().st_mtime_ns == unchanged
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deploy.jobs.runs._KEEP_EVERY_S", 0.2)
        assert _status([sys.executable, "-c", code], 3.0, keep) != 0
    assert store.files("a") == {"job.json": 2, "log": 9}
    assert (kept / "log").read_text() == "two lines"


def test_a_job_without_a_cluster_is_told_so(tmp_path: Path) -> None:
    settings = {"RAY_API_SERVER_ADDRESS": "http://127.0.0.1:9", "RUNS_DIR": str(tmp_path)}
    finished = subprocess.run(
        [DEPLOY / "jobs/test_svg.sh"],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 1
    assert "No Ray answers at http://127.0.0.1:9. Start one (make demo)" in finished.stderr


def test_run_that_did_not_end_is_listed_as_such(tmp_path: Path) -> None:
    command = [*RUNS, "execute", "--runs", str(tmp_path), "a", "--", "sleep", "60"]
    with subprocess.Popen(command) as process:
        while not (tmp_path / "a/job.json").exists():
            time.sleep(0.05)
        process.kill()
    assert "did not end" in runs("list", "--runs", str(tmp_path)).stdout


def test_time_limit_interrupts(tmp_path: Path) -> None:
    script = "import signal, sys, time\ntry:\n  time.sleep(60)\nexcept KeyboardInterrupt:\n  sys.exit(7)"
    finished = runs(
        "execute", "--runs", str(tmp_path), "--time-limit", "2", "a", "--", sys.executable, "-c", script
    )
    assert finished.returncode in {7, 128 + signal.SIGINT}
    assert "the time limit" in finished.stderr


def test_unknown_run_names_those_that_are_there(tmp_path: Path) -> None:
    assert runs("execute", "--runs", str(tmp_path), "a", "--", "true").returncode == 0
    finished = runs("show", "b", "--runs", str(tmp_path))
    assert finished.returncode == 2
    assert "There are: a" in finished.stderr


def test_id_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    finished = runs("execute", "--runs", str(tmp_path / "runs"), "../other", "--", "true")
    assert finished.returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_storage_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    finished = runs("execute", "--runs", str(tmp_path / "file"), "a", "--", "true")
    assert finished.returncode == 1
    assert "file" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_unknown_kind_of_storage_is_refused() -> None:
    finished = runs("list", "--runs", "ftp://somewhere/runs")
    assert finished.returncode == 2
    assert "ftp" in finished.stderr
