"""The service as a user runs it: `python -m services` in a process of its own, on a tiny model.

One serves the whole test session, since Ray takes half a minute to start.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

STOP_TIMEOUT_S = 120
SETTINGS = ("dtype=float32", "max_tokens_limit=800", "runtime_adapters=true")
LAST = {"svg": '<svg viewBox="0 0 9 9"><circle r="3"/></svg>', "n": 8, "max_tokens": 256, "temperature": 1.0}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the service come last, so that it does not take memory and time from all the others."""
    items.sort(key=lambda item: "live_service" in getattr(item, "fixturenames", ()))


@dataclass(frozen=True)
class LiveService:
    url: str
    jobs_url: str
    metrics_url: str
    base_model: Path
    adapters_dir: Path
    log: Path
    pid: int

    def metrics(self) -> dict[str, float]:
        """Each metric's sum over all labels, as the last scrape has it."""
        sums: dict[str, float] = {}
        for line in httpx.get(self.metrics_url, timeout=30, trust_env=False).text.splitlines():
            if not line.startswith("#"):
                name, value = re.split(r"[ {]", line)[0], line.split()[-1]
                sums[name] = sums.get(name, 0.0) + float(value)
        return sums


@pytest.fixture(scope="session")
def live_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """Started once; its end is part of the test: SIGTERM waits for the last answer and gives status 0."""
    from tests.tiny_models import make_tiny_llama  # here, so that tests of rendering do not import torch

    folder = tmp_path_factory.mktemp("service")
    base_model = make_tiny_llama(folder / "tiny")
    adapters_dir, log = folder / "adapters", folder / "log.txt"
    with _start(base_model, adapters_dir, log) as process:
        try:
            ready = json.loads(_first_line(process, log))
            urls = ready["url"], ready["jobs_url"], ready["metrics_url"]
            service = LiveService(*urls, base_model, adapters_dir, log, process.pid)
            yield service
            with ThreadPoolExecutor(1) as pool:
                last = pool.submit(_ask_for_long, service)
                while not (last.done() or service.metrics().get("ray_svg_engine_rows")):
                    time.sleep(0.1)
                process.send_signal(signal.SIGTERM)
        finally:
            process.send_signal(signal.SIGTERM)
            status = process.wait(STOP_TIMEOUT_S)
    assert last.result().status_code == 200, last.result().text
    assert status == 0, log.read_text()


def _ask_for_long(service: LiveService) -> httpx.Response:
    return httpx.post(f"{service.url}/v1/captions", json=LAST, timeout=STOP_TIMEOUT_S, trust_env=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(base_model: Path, adapters_dir: Path, log: Path) -> subprocess.Popen[str]:
    options = {
        "--port": free_port(),
        "--dashboard-port": free_port(),
        "--base-model": base_model,
        "--adapters-dir": adapters_dir,
    }
    arguments = [str(part) for option in options.items() for part in option]
    for setting in SETTINGS:
        arguments += ["--set", setting]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment["RAY_metrics_report_interval_ms"] = "500"
    with log.open("w") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "services", "--json", *arguments],
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            env=environment,
        )


def _first_line(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, log.read_text()  # it ended instead of answering
    return line
