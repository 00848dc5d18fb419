"""What the service answers when it is overrun, loses its engine, or runs for long.

    python benchmarks/serve_faults.py [--quick]

Four loads on one service of its own, on loopback: as much as it can take, ten times that, the loss of the
engine's process under load, and many requests in a row while the memory of its processes is read. Whatever
happens, each answer is the right caption or a refusal in words: anything else ends the script with status 1.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from benchmarks.support.clients import CAPTIONED, Answers, ask
from benchmarks.support.replicas import replicas_of, resident_bytes
from benchmarks.support.service import service
from services.settings import Settings

PENDING = Settings.model_construct().max_pending
CLIENTS = PENDING // 2  # none is refused
DRAWINGS = [f'<svg viewBox="0 0 99 99"><circle r="{radius}" fill="teal"/></svg>' for radius in range(1, 17)]
# Long to read: with short ones, clients on the same cores could not ask for ten times what is answered.
_CIRCLES = "".join(f'<circle cx="{10 + i}" cy="{90 - i}" r="{i % 7 + 1}"/>' for i in range(60))
LONG_DRAWINGS = [svg.replace("</svg>", f"{_CIRCLES}</svg>") for svg in DRAWINGS]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--quick", action="store_true", help="seconds instead of minutes")
    options.add_argument("--base-model", default="embedded")
    chosen = options.parse_args()
    seconds, requests = (5.0, 300) if chosen.quick else (60.0, 10_000)
    with TemporaryDirectory() as folder, service(chosen.base_model, Path(folder)) as (url, pid):
        captions = {svg: _caption(url, svg) for svg in DRAWINGS}
        took, found = _load(url, captions, CLIENTS, lasting(seconds / 2))
        _report(f"{CLIENTS} clients", took, found)
        _overload(url, seconds)
        [engine] = replicas_of(pid, "Engine")
        threading.Timer(seconds / 6, os.kill, (engine, signal.SIGKILL)).start()
        took, found = _load(url, captions, CLIENTS, lasting(seconds))
        _report("the engine killed", took, found)
        _memory(url, captions, pid, requests)


def _overload(url: str, seconds: float) -> None:
    """Ten clients for each place; what they ask for is measured in what is answered without them."""
    captions = {svg: _caption(url, svg) for svg in LONG_DRAWINGS}
    took, found = _load(url, captions, CLIENTS, lasting(seconds / 4))
    capacity = found.outcomes[CAPTIONED] / took
    _report(f"{CLIENTS} clients, long drawings", took, found)
    took, found = _load(url, captions, 10 * PENDING, lasting(seconds))
    offered = found.outcomes.total() / took
    _report(f"{10 * PENDING} clients, {offered / capacity:.1f} times the capacity", took, found)


def lasting(seconds: float) -> Callable[[int], bool]:
    ends_at = time.monotonic() + seconds
    return lambda _: time.monotonic() < ends_at


def _load(
    url: str, captions: dict[str, str], clients: int, go_on: Callable[[int], bool]
) -> tuple[float, Answers]:
    began = time.monotonic()
    found = asyncio.run(ask(url, captions, clients=clients, go_on=go_on))
    return time.monotonic() - began, found


def _report(name: str, seconds: float, found: Answers) -> None:
    outcomes = ", ".join(f"{number:,} x {kind}" for kind, number in found.outcomes.most_common())
    print(f"{name}: {found.outcomes[CAPTIONED] / seconds:.1f} captions/s in {seconds:.0f} s; {outcomes}")
    if found.captioned_s:
        print(
            f"  captions: median {statistics.median(found.captioned_s):.2f} s, {_slowest(found.captioned_s)}"
        )
    if found.refused_s:
        print(f"  refusals: median {statistics.median(found.refused_s):.2f} s, {_slowest(found.refused_s)}")
    if found.failures or found.wrong:
        raise SystemExit(f"failed: {found.failures}, {len(found.wrong)} wrong captions")


def _slowest(seconds: list[float]) -> str:
    return f"slowest {max(seconds):.2f} s"


def _memory(url: str, captions: dict[str, str], pid: int, requests: int) -> None:
    """Once after a tenth of the requests, when all is warm, and at the end."""
    processes = {name: replicas_of(pid, name).pop() for name in ("Ingress", "Engine")}
    before: dict[str, int] = {}
    for part in (requests // 10, requests - requests // 10):
        took, found = _load(url, captions, CLIENTS, lambda number, part=part: number < part)  # type: ignore[misc]
        _report(f"{part:,} requests", took, found)
        now = {name: resident_bytes(process) for name, process in processes.items()}
        for name, held in before.items():
            print(f"  {name}: {held / 2**20:.0f} MiB before, {now[name] / 2**20:.0f} MiB after them")
        before = now


def _caption(url: str, svg: str) -> str:
    answer = httpx.post(f"{url}/v1/captions", json={"svg": svg}, timeout=120, trust_env=False)
    return str(answer.raise_for_status().json()["captions"][0]["text"])


if __name__ == "__main__":
    main()
