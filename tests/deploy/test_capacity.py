"""The simulation agrees with what can be worked out by hand, and its figures can be measured here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.capacity import Service, simulate

ROOT = Path(__file__).parents[2]
ONE = Service(
    prefill_s=0.05, step_s=0.01, row_s=0.0005, tokens=30, batch=16, ingress_s=0.01, engines=1, ingresses=1
)
FIGURES = ["--prefill-ms=50", "--step-ms=10", "--row-ms=0.5", "--ingress-ms=10"]


def plan(*options: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "deploy.capacity", "plan", *FIGURES, *options, "--json"]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return finished.returncode, json.loads(finished.stdout)


def test_a_request_alone_takes_the_sum_of_its_parts() -> None:
    outcome = simulate(ONE, rate=0.01, seconds=5000)
    assert outcome.p50_s == pytest.approx(0.01 + 0.05 + 30 * 0.0105)


def test_an_overloaded_engine_answers_what_full_batches_give() -> None:
    outcome = simulate(ONE, rate=100, seconds=60)
    assert outcome.answered_per_s == pytest.approx(ONE.engines_per_s, rel=0.03)
    assert ONE.engines_per_s == pytest.approx(1 / (0.05 + 30 * (0.01 / 16 + 0.0005)))


def test_an_overloaded_ingress_holds_the_engines_back() -> None:
    service = replace(ONE, engines=100)
    assert simulate(service, rate=300, seconds=20).answered_per_s == pytest.approx(100, rel=0.05)


def test_more_engines_wait_less() -> None:
    waits = [simulate(replace(ONE, engines=engines), rate=20, seconds=60).p95_s for engines in (1, 2, 4)]
    assert waits == sorted(waits, reverse=True)


def test_plan_finds_the_fewest_engines() -> None:
    status, facts = plan("--users=300", "--every-s=10", "--price-per-hour=1")
    service = replace(ONE, engines=facts["engines"] - 1)
    assert status == 0
    assert facts["p95_s"] <= 2 < simulate(service, rate=30, seconds=300).p95_s
    assert facts["cost_per_million"] == pytest.approx(facts["engines"] / 3600 / 30 * 1e6)


def test_plan_says_when_more_engines_do_not_help() -> None:
    status, facts = plan("--users=2000", "--every-s=10", "--minutes=1")
    assert status == 1
    assert facts["ingress_load"] == pytest.approx(2.0)


def test_figures_are_measured() -> None:
    command = [
        sys.executable,
        "-m",
        "deploy.capacity",
        "measure",
        "--rounds=4",
        "--batch=2",
        "--max-tokens=4",
    ]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert re.search(r"^--prefill-ms \d+\.\d --step-ms \d", finished.stdout, re.M)


def test_the_page_has_what_its_command_says() -> None:
    page = (ROOT / "docs/capacity.md").read_text(encoding="utf-8")
    [command] = re.findall(r"deploy\.capacity (plan .*) --users 100 --every-s 10", page)
    rows = re.findall(r"^\| ([\d,]+)(, two ingresses)? \| (\w+)[^|]* \|(.*)\|(.*)\| (\d+) % \|$", page, re.M)
    assert len(rows) == 4
    for users, two, engines, p95, load, ingress_load in rows:
        words = [*command.split(), "--every-s=10", f"--users={users.replace(',', '')}", "--json"]
        words += ["--ingresses=2"] * bool(two)
        finished = subprocess.run(
            [sys.executable, "-m", "deploy.capacity", *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        facts = json.loads(finished.stdout)
        assert f"{facts['ingress_load']:.0%}" == f"{ingress_load}%"
        if facts["enough"]:
            found = (str(facts["engines"]), f"{facts['p95_s']:.1f} s", f"{facts['engine_load']:.0%}")
            assert found == (engines, p95.strip(), load.replace(" ", ""))
        else:
            assert engines.startswith("none")
