"""The commands of docs/api.md work on a running service."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live_service import LiveService

pytestmark = pytest.mark.ray

ROOT = Path(__file__).parents[2]
NOT_RUN_HERE = (
    ".venv/bin/python -m services",
    "load_lora_adapter",
)  # see live_service and test_live_stream.py


def examples(language: str) -> list[str]:
    text = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def commands() -> list[str]:
    lines = [line for block in examples("sh") for line in block.splitlines()]
    return [line for line in lines if not any(part in line for part in NOT_RUN_HERE)]


def run(live_service: LiveService, *command: str) -> str:
    here = [part.replace("http://127.0.0.1:8000", live_service.url) for part in command]
    finished = subprocess.run(here, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.mark.parametrize("command", commands())
def test_a_command_is_answered(live_service: LiveService, command: str) -> None:
    shown = run(live_service, "bash", "-c", command)
    assert '"captions"' in shown
    assert '"error":{' not in shown


@pytest.mark.parametrize("script", examples("python"))
def test_a_script_prints_a_caption(live_service: LiveService, script: str) -> None:
    assert run(live_service, sys.executable, "-c", script).strip()
