"""The programs in docs/clients.md, run as they stand there but for the address."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.live_service import LiveService

pytestmark = pytest.mark.ray

ROOT = Path(__file__).parents[2]
EXAMPLES = re.findall(
    r"^## (.+?)\n.*?^```(sh|python|js)\n(.*?)^```",
    (ROOT / "docs" / "clients.md").read_text(encoding="utf-8"),
    re.M | re.S,
)
RUNNERS = {
    "sh": ["bash", "-euo", "pipefail", "-c"],
    "python": [sys.executable, "-c"],
    "js": ["node", "--input-type=module", "-e"],
}


@pytest.mark.parametrize(("name", "language", "program"), EXAMPLES, ids=[name for name, _, _ in EXAMPLES])
def test_the_example_runs(
    live_service: LiveService, tmp_path: Path, name: str, language: str, program: str
) -> None:
    if not shutil.which(RUNNERS[language][0]):
        pytest.skip(f"{RUNNERS[language][0]} is not installed")
    (tmp_path / "services").symlink_to(ROOT / "services")
    finished = subprocess.run(
        [*RUNNERS[language], program.replace("http://127.0.0.1:8000", live_service.url)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip()
    if "titled.svg" in program:
        root = ElementTree.parse(tmp_path / "titled.svg").getroot()
        assert root.get("role") == "img"
    if "stream=true" in program:
        assert "event: done" in finished.stdout


def test_there_are_four() -> None:
    assert [name for name, _, _ in EXAMPLES] == ["curl", "Python", "JavaScript", "gradio_client"]
