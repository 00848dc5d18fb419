"""The README's commands work: the quick ones are run as they stand, the others are named with the reason."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

NOT_RUN_HERE = {
    "make demo": "tests/services starts the service",
    "make test": "would run itself",
    "curl -F file=@services/samples/mountains.svg http://127.0.0.1:8000/v1/captions": "needs the service",
    ".venv/bin/python -m training embedded": "takes minutes; tests/training runs shorter ones",
    ".venv/bin/python -m evaluation embedded": "takes minutes; tests/evaluation runs shorter ones",
    "MODEL=embedded deploy/jobs/llama_te.sh": "needs a Ray cluster; see test_deploy.py",
}


def readme_commands() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    return [line for block in blocks for line in block.splitlines() if line and not line.startswith("#")]


def test_only_the_named_commands_are_not_run() -> None:
    assert set(NOT_RUN_HERE) <= set(readme_commands())


@pytest.mark.parametrize("command", [line for line in readme_commands() if line not in NOT_RUN_HERE])
def test_command_succeeds(command: str) -> None:
    line = command.replace(".venv/bin/python", sys.executable)
    finished = subprocess.run(
        ["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip()


@pytest.mark.parametrize("page", ["rendering", "evaluation"])
def test_the_python_in_the_documents_runs(page: str) -> None:
    text = (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")
    [program] = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=ROOT, check=True, timeout=120)
