"""A RAY_ADDRESS at which no Ray is: Ray itself would wait there for ten minutes, or say something obscure."""

from __future__ import annotations

import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import ray

from captioning.errors import ConfigError
from captioning.running_ray import running_ray


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}", "127.0.0.1:x", "nonsense"])
def test_an_address_without_ray_is_refused(
    address: str, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = address.format(port=closed_port)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ConfigError, match=f"^RAY_ADDRESS = '{address}': no Ray answers there"), running_ray():
        pytest.fail("it was entered")
    assert not ray.is_initialized()


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray", "ignore::FutureWarning:ray")
def test_a_thread_may_start_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def cpus() -> float:
        with running_ray(cpus=3):
            return float(ray.cluster_resources()["CPU"])

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(cpus).result() == 3
    assert not ray.is_initialized()


def test_the_service_says_so_too(closed_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{closed_port}")
    ended = subprocess.run(
        [sys.executable, "-m", "services"], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode != 0
    assert "no Ray answers there" in ended.stderr
    assert "Traceback" not in ended.stderr
