"""A new Serve config rolls out on a running cluster while requests come in: none fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.live_service import free_port
from tests.tiny_models import make_tiny_llama

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><rect width="8" height="8" fill="red"/></svg>'
)
CLIENTS = 4
WAIT_S = 600.0


class Cluster:
    """A Ray of its own, that `serve deploy` is told of by address."""

    def __init__(self, folder: str) -> None:
        gcs, agent = free_port(), free_port()
        self._agent = f"http://127.0.0.1:{agent}"
        self._environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "RAY_AUTH_MODE": "disabled",
            "RAY_ADDRESS": f"127.0.0.1:{gcs}",
            "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
        }
        options = {
            "node-ip-address": "127.0.0.1",
            "port": gcs,
            "dashboard-port": agent,
            "dashboard-agent-listen-port": free_port(),
            "temp-dir": folder,
            "num-cpus": 8,
            "object-store-memory": 80_000_000,
        }
        words = [f"--{name}={value}" for name, value in options.items()]
        self._process = subprocess.Popen(
            [BIN / "ray", "start", "--head", "--block", "--disable-usage-stats", *words],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(self._answers)

    def _answers(self) -> bool:
        assert self._process.poll() is None, "Ray did not start"
        try:
            return httpx.get(f"{self._agent}/api/serve/applications/", trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def _run(self, command: str, *words: str) -> str:
        finished = subprocess.run(
            [BIN / command, *words],
            env=self._environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert finished.returncode == 0, finished.stdout
        return finished.stdout

    def deploy(self, config: Path) -> None:
        self._run("serve", "deploy", str(config), "--address", self._agent)

    def status(self) -> dict[str, Any]:
        text = self._run("serve", "status", "--address", self._agent)
        return dict(yaml.safe_load(text)["applications"]["svg-captions"])

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(60)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")  # short: socket paths are limited
    started = Cluster(folder)
    yield started
    started.stop()
    shutil.rmtree(folder, ignore_errors=True)


def test_new_config_rolls_out_without_a_failed_request(cluster: Cluster, tmp_path: Path) -> None:
    url, base = f"http://127.0.0.1:{free_port()}", make_tiny_llama(tmp_path / "tiny")
    cluster.deploy(write_config(tmp_path / "old.yaml", url, base, max_tokens=3))
    wait_until_running(cluster)

    lengths: Counter[int] = Counter()
    failures: list[str] = []
    slowest = [0.0]
    done = threading.Event()

    def ask() -> None:
        with httpx.Client(timeout=120, trust_env=False) as client:
            while not done.is_set():
                began = time.monotonic()
                try:
                    answer = client.post(f"{url}/v1/captions", json={"svg": SVG})
                    answer.raise_for_status()
                    lengths[answer.json()["usage"]["completion_tokens"]] += 1
                except httpx.HTTPError as error:
                    failures.append(repr(error))
                slowest[0] = max(slowest[0], time.monotonic() - began)

    with ThreadPoolExecutor(CLIENTS) as clients:
        asking = [clients.submit(ask) for _ in range(CLIENTS)]
        try:
            wait_for(lambda: lengths[3] > 20 or bool(failures))
            cluster.deploy(write_config(tmp_path / "new.yaml", url, base, max_tokens=5))
            wait_until_running(cluster)
            wait_for(lambda: lengths[5] > 20 or bool(failures))
        finally:
            done.set()
    for client in asking:
        client.result()
    print(f"{sum(lengths.values())} answers, {len(failures)} failed, slowest {slowest[0]:.1f} s")
    assert failures == []


def write_config(path: Path, url: str, base: Path, *, max_tokens: int) -> Path:
    """Two replicas of each kind, as a rollout replaces one after the other."""
    config = yaml.safe_load((ROOT / "deploy/serve.yaml").read_text(encoding="utf-8"))
    (application,) = config["applications"]
    port = int(url.rpartition(":")[2])
    config["http_options"] = {"host": "127.0.0.1", "port": port}
    application["args"] |= {
        "base_model": str(base),
        "adapters_dir": str(path.parent),
        "host": "127.0.0.1",
        "port": port,
        "page": False,
        "ingress_replicas": 2,
        "engine_replicas": 2,
        "max_tokens": max_tokens,
    }
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def wait_until_running(cluster: Cluster) -> None:
    def running() -> bool:
        status = cluster.status()
        assert status["status"] not in {"DEPLOY_FAILED", "UNHEALTHY"}, status
        return bool(status["status"] == "RUNNING")

    wait_for(running)


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.5)
