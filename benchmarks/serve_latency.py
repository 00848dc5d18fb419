"""What the service adds to the engine's latency: HTTP, Ray Serve's proxy, and the way from ingress to engine.

    python benchmarks/serve_latency.py [--quick]

One client asks for one drawing after the other, by turns of the service over HTTP and of an engine in
this process. Both prepare the drawing and write on one thread, and give the same caption. What the service
takes by its own clock (`timings_ms`) stands apart from what comes before and after: HTTP and the proxy.
"""

from __future__ import annotations

import argparse
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import numpy as np

from benchmarks.support.service import service
from captioning.engine import Engine
from training.corpora.scenes import generate_scene

WARM_UP = 10


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--quick", action="store_true", help="seconds instead of minutes")
    options.add_argument("--base-model", default="embedded")
    chosen = options.parse_args()
    drawings = [generate_scene(seed).svg for seed in range(WARM_UP + (20 if chosen.quick else 400))]
    with (
        TemporaryDirectory() as folder,
        service(chosen.base_model, Path(folder)) as (url, _),
        closing(Engine.load(chosen.base_model, torch_threads=1)) as engine,
        httpx.Client(base_url=url, timeout=60, trust_env=False) as http,
    ):
        _report(np.array([_took(svg, engine, http) for svg in drawings][WARM_UP:]) * 1000)


def _took(svg: str, engine: Engine, http: httpx.Client) -> tuple[float, float, float]:
    """Seconds of the engine here, of the whole request, and of the service by its own clock."""
    began = time.perf_counter()
    [caption] = engine.caption([svg])
    here = time.perf_counter()
    answer = http.post("/v1/captions", json={"svg": svg}).raise_for_status().json()
    there = time.perf_counter()
    if isinstance(caption, Exception) or answer["captions"][0]["text"] != caption.text:
        raise SystemExit(f"failed: {answer} for {caption}")
    return here - began, there - here, answer["timings_ms"]["total"] / 1000


def _report(took: np.ndarray) -> None:
    engine, request, inside = took.T
    for name, values in (
        ("engine in this process", engine),
        ("service over HTTP", request),
        ("  of it, by the service's clock", inside),
        ("service less engine", request - engine),
    ):
        median, slow = np.percentile(values, [50, 99])
        print(f"{name:<32} median {median:6.1f} ms, p99 {slow:6.1f} ms")
    print(f"ratio of the medians: {np.median(request) / np.median(engine):.2f}, {len(took)} drawings each")


if __name__ == "__main__":
    main()
