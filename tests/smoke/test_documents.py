"""The documents keep up with the code: links lead somewhere, quoted errors exist, the tour can be taken."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live_service import free_port

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
PACKAGES = ("captioning", "deploy", "evaluation", "faithfulness", "rendering", "services", "training")


def sources() -> str:
    """The code as one line of words: messages run over several lines, in pieces between quotes."""
    files = [
        path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.suffix in {".py", ".sh"}
    ]
    text = " ".join(path.read_text(encoding="utf-8") for path in sorted(files))
    return re.sub(r'"\s+f?"', "", text)


def quoted_errors() -> list[str]:
    table = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `([^`]+)`", table, re.M)


def test_every_quoted_error_is_in_the_code() -> None:
    code = sources()
    assert len(quoted_errors()) > 20
    assert [error for error in quoted_errors() if error not in code] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8"))
    local = [target for target in targets if not target.startswith(("http://", "https://"))]
    assert [target for target in local if not (document.parent / target).exists()] == []


@pytest.mark.slow
@pytest.mark.parametrize(("model", "column"), [("llama-3.1-8b", 0), ("gemma-2-9b", 1)])
def test_the_memory_that_is_promised_is_what_plan_says(model: str, column: int) -> None:
    table = (ROOT / "docs" / "training-from-zero.md").read_text(encoding="utf-8")
    rows = {
        name: cells.split(" | ")[column]
        for name, cells in re.findall(r"^\| (\w+)[^|]*\| (.+) \|$", table, re.M)
    }
    command = ["training", "plan", "test3-multi-gpu", f"model={model}", "--no-corpus", "--json"]
    told = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    plan = json.loads(told.stdout)
    assert rows["with"] == f"{plan['memory_gib']['total']:.1f}"
    assert rows["trained"].startswith(f"{plan['trainable_parameters']:,} ")


@pytest.mark.ray
@pytest.mark.slow
def test_the_tour_can_be_taken(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHON": sys.executable, "PORT": str(free_port())}
    finished = subprocess.run(
        ["docs/tour.sh", str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=590,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert '"model":"tour"' in finished.stdout
    assert "Two green mountains</title>" in (tmp_path / "titled.svg").read_text()
    assert (tmp_path / "runs" / "tour-scores" / "report.json").exists()
