"""The service as a user runs it: `python -m services` in a process of its own, on a tiny model.

One serves the whole test session, since Ray takes half a minute to start.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

START_TIMEOUT_S = 300
STOP_TIMEOUT_S = 60
SETTINGS = ("dtype=float32", "max_tokens_limit=800", "runtime_adapters=true")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the service come last, so that it does not take memory and time from all the others."""
    items.sort(key=lambda item: "live_service" in getattr(item, "fixturenames", ()))


@dataclass(frozen=True)
class LiveService:
    url: str
    jobs_url: str
    base_model: Path
    adapters_dir: Path


@pytest.fixture(scope="session")
def live_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """Started once; its end is part of the test: SIGTERM must give status 0."""
    from tests.tiny_models import make_tiny_llama  # here, so that tests of rendering do not import torch

    folder = tmp_path_factory.mktemp("service")
    base_model = make_tiny_llama(folder / "tiny")
    adapters_dir, log = folder / "adapters", folder / "log.txt"
    with _start(base_model, adapters_dir, log) as process:
        try:
            ready = json.loads(_first_line(process, log))
            yield LiveService(ready["url"], ready["jobs_url"], base_model, adapters_dir)
        finally:
            process.send_signal(signal.SIGTERM)
            status = process.wait(STOP_TIMEOUT_S)
    assert status == 0, log.read_text()


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
