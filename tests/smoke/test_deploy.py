"""The files under deploy/ fit the code: settings, recipes, versions arguments that the packages accept."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve.schema import ServeApplicationSchema, ServeDeploySchema

from services.settings import Settings
from training.recipe import load_recipe

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
JOBS = sorted(path.name for path in (DEPLOY / "jobs").glob("*.sh") if path.name != "submit.sh")


def read(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def submitted_by(job: str, folder: Path, **environment: str) -> list[str]:
    """The arguments of `python` that a job script submits, taken down by a stand-in for `ray`."""
    ray, arguments = folder / "ray", folder / "arguments"
    ray.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {arguments}\n', encoding="utf-8")
    ray.chmod(0o755)
    subprocess.run([DEPLOY / "jobs" / job], check=True, env=os.environ | {"RAY": str(ray)} | environment)
    words = arguments.read_text(encoding="utf-8").splitlines()
    return words[words.index("python", words.index("--")) + 1 :]


def succeeds(arguments: list[str]) -> None:
    finished = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr


def test_serve_config_has_valid_settings() -> None:
    config = ServeDeploySchema.model_validate(read("serve.yaml"))
    (application,) = config.applications
    settings = Settings.model_validate(application.args)
    assert (settings.host, settings.port) == (config.http_options.host, config.http_options.port)


def test_kubernetes_serves_the_same_application() -> None:
    config = yaml.safe_load(read("kubernetes/rayservice.yaml")["spec"]["serveConfigV2"])
    (application,) = config["applications"]
    (reference,) = read("serve.yaml")["applications"]
    ServeApplicationSchema.model_validate(application)
    Settings.model_validate(application["args"])
    assert application["import_path"] == reference["import_path"]


@pytest.mark.parametrize("name", ["rayservice", "rayjob"])
def test_kubernetes_names_the_locked_ray_and_this_version(name: str) -> None:
    text = (DEPLOY / "kubernetes" / f"{name}.yaml").read_text(encoding="utf-8")
    locked = re.search(r"^ray==(\S+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.M)
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)
    assert locked is not None
    assert version is not None
    assert re.findall(r"rayVersion: (\S+)", text) == [locked[1]]
    assert set(re.findall(r"image: (\S+)", text)) == {f"svg-captioner:{version[1]}"}


@pytest.mark.parametrize("job", JOBS)
def test_job_submits_options_that_its_package_knows(job: str, tmp_path: Path) -> None:
    succeeds([*submitted_by(job, tmp_path), "--help"])  # an unknown option is reported before help is given


@pytest.mark.parametrize("job", ["llama_te.sh", "gemma_te.sh"])
def test_training_job_names_a_recipe_and_takes_overrides(job: str, tmp_path: Path) -> None:
    words = submitted_by(job, tmp_path, MODEL="embedded")
    recipe = load_recipe(words[2], [word for word in words if "=" in word])
    assert (recipe.model, recipe.resources.workers, recipe.lora.r) == ("embedded", 2, 16)


def test_scoring_job_has_a_time_limit(tmp_path: Path) -> None:
    submitted_by("ext_capt.sh", tmp_path)
    assert "24h" in (tmp_path / "arguments").read_text(encoding="utf-8").split()


def test_renderer_comparison_job_runs(tmp_path: Path) -> None:
    words = submitted_by("test_svg.sh", tmp_path, CORPUS="services/samples", RUNS_DIR=str(tmp_path))
    succeeds(words)
    assert (tmp_path / "test_svg" / "comparison.html").exists()
