"""Two hosts (network namespaces with a cable between them) do our jobs, and outlive a cut cable."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TextIO

import pytest

ROOT = Path(__file__).parents[2]
RAY = str(Path(sys.executable).parent / "ray")
PORT = 6379
WAIT_S = 600.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.ray,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("ip") is None, reason="makes network namespaces"),
]


@dataclass(frozen=True)
class Host:
    """A network namespace with one address."""

    name: str
    address: str

    def command(self, *words: str) -> list[str]:
        return ["ip", "netns", "exec", self.name, *words]


HEAD, WORKER = Host("svg-head", "10.77.0.1"), Host("svg-worker", "10.77.0.2")


@pytest.fixture
def hosts() -> Iterator[None]:
    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    with ExitStack() as stack:
        for host in (HEAD, WORKER):
            ip("netns", "add", host.name)
            stack.callback(ip, "netns", "delete", host.name)
        ip("link", "add", "eth0", "netns", HEAD.name, "type", "veth", "peer", "eth0", "netns", WORKER.name)
        for host in (HEAD, WORKER):
            ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                ip("-n", host.name, "link", "set", device, "up")
        yield


@contextmanager
def ray_node(host: Host, *options: str) -> Iterator[None]:
    environment = os.environ | {
        "GLOO_SOCKET_IFNAME": "eth0",  # the host's name leads to loopback
        "RAY_AUTH_MODE": "disabled",
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_failure_threshold": "5",
    }
    words = [
        "start",
        f"--node-ip-address={host.address}",
        "--num-cpus=1",
        "--object-store-memory=80000000",
        "--block",
    ]
    with subprocess.Popen(
        host.command(RAY, *words, *options),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield
        finally:
            process.terminate()


@pytest.fixture
def cluster(hosts: None) -> Iterator[Callable[[], None]]:
    """A head with room for one worker, and a second node like it; the call puts another in its place."""
    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")  # short: socket paths are limited
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        nodes = count()
        head = ["--head", f"--port={PORT}", f"--dashboard-host={HEAD.address}"]
        stack.enter_context(ray_node(HEAD, *head, f"--temp-dir={folder}/{next(nodes)}"))

        second = stack.enter_context(ExitStack())

        def join() -> None:
            second.close()
            address = f"--address={HEAD.address}:{PORT}"
            second.enter_context(ray_node(WORKER, address, f"--temp-dir={folder}/{next(nodes)}"))

        wait_for(
            lambda: (
                subprocess.run(
                    HEAD.command(RAY, "health-check", f"--address={HEAD.address}:{PORT}"),
                    capture_output=True,
                    check=False,
                ).returncode
                == 0
            )
        )
        join()
        wait_for(lambda: living_nodes() == 2)
        yield join


def wait_for(condition: Callable[[], bool]) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < WAIT_S, "waited for too long"
        time.sleep(1)
    return time.monotonic() - began


def living_nodes() -> int:
    script = (
        "import json, urllib.request as u; "
        f"nodes = json.load(u.urlopen('http://{HEAD.address}:8265/nodes?view=summary', timeout=20)); "
        "print(sum(n['raylet'].get('state') == 'ALIVE' for n in nodes['data']['summary']))"
    )
    finished = subprocess.run(
        HEAD.command(sys.executable, "-c", script), capture_output=True, text=True, check=False
    )
    return int(finished.stdout or 0)


def submit(job: str, runs: Path, run: str, *arguments: str) -> list[str]:
    settings = {
        "RAY": RAY,
        "RAY_API_SERVER_ADDRESS": f"http://{HEAD.address}:8265",
        "RAY_AUTH_MODE": "disabled",
        "RUNS_DIR": str(runs),
        "RUN": run,
        "ADAPTERS_DIR": str(runs / "adapters"),
        "MODEL": "embedded",
        "SUITE": "embedded",
    }
    return HEAD.command(
        "env", *(f"{name}={value}" for name, value in settings.items()), f"deploy/jobs/{job}.sh", *arguments
    )


@pytest.fixture
def log(tmp_path: Path) -> Iterator[TextIO]:
    with (tmp_path / "jobs.log").open("w+") as file:
        yield file


def test_jobs_outlive_a_cut_cable(cluster: Callable[[], None], tmp_path: Path, log: TextIO) -> None:
    """Two workers are apart; one is cut off after a checkpoint, and another node takes its place."""
    small = [
        "max_steps=8",
        "checkpoints.every_steps=2",
        "corpus.scenes.train=64",
        "corpus.scenes.validation=8",
    ]
    training = subprocess.Popen(submit("llama_te", tmp_path, "cut", *small), cwd=ROOT, stdout=log, stderr=log)
    wait_for(lambda: training.poll() is not None or any((tmp_path / "cut").glob("checkpoint-*")))
    assert training.poll() is None, Path(log.name).read_text()

    subprocess.run(["ip", "-n", HEAD.name, "link", "set", "eth0", "down"], check=True)
    noticed_s = wait_for(lambda: living_nodes() == 1)
    subprocess.run(["ip", "-n", HEAD.name, "link", "set", "eth0", "up"], check=True)
    cluster()
    status = training.wait(WAIT_S)
    assert status == 0, Path(log.name).read_text()
    result = json.loads((tmp_path / "cut/result.json").read_text())
    assert (result["status"], result["steps"]) == ("completed", 8)

    evaluation = submit(
        "ext_capt", tmp_path, "scores", "--limit", "4", "--adapter", str(tmp_path / "cut/adapter")
    )
    subprocess.run(evaluation, cwd=ROOT, check=True, stdout=log, stderr=log)
    assert (tmp_path / "scores/report.json").exists()
    drawings = tmp_path / "drawings"
    drawings.mkdir()
    samples = sorted((ROOT / "services/samples").glob("*.svg"))
    for number in range(600):
        shutil.copyfile(samples[number % len(samples)], drawings / f"{number:03}.svg")
    written = tmp_path / "captions" / "captions.jsonl"
    captioning = subprocess.Popen(
        submit("caption", tmp_path, "captions", str(drawings), "--workers", "2"),
        cwd=ROOT,
        stdout=log,
        stderr=log,
    )
    wait_for(
        lambda: captioning.poll() is not None or (written.exists() and written.read_bytes().count(b"\n") > 9)
    )
    assert captioning.poll() is None, Path(log.name).read_text()
    cluster()  # its node is gone at once, and another in its place
    assert captioning.wait(WAIT_S) == 0, Path(log.name).read_text()
    records = [json.loads(line) for line in written.read_text().splitlines()]
    assert [record["file"] for record in records] == sorted(map(str, drawings.iterdir()))
    assert not any("error" in record for record in records)
    texts = {(record["sha256"], record["captions"][0]["text"]) for record in records}
    assert len(texts) == len(samples)
    for run in ("cut", "scores", "captions"):
        assert json.loads((tmp_path / run / "job.json").read_text())["status"] == 0
    print(f"node given up after {noticed_s:.0f} s; run of {result['seconds']:.0f} s in its last attempt")
