"""The whole way over real HTTP: Ray Serve, processes, a model. Shapes are tested in test_api.py."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from captioning.engine import Caption, Engine
from tests.captioning.helpers import make_adapter
from tests.live_service import LiveService
from tests.services.helpers import CIRCLE, ENTITY_BOMB, SQUARE, TRUNCATED

pytestmark = pytest.mark.ray

MIB = 1 << 20


@pytest.fixture
def client(live_service: LiveService) -> Iterator[httpx.Client]:
    """Whatever a test did to the service, it answers afterwards."""
    with httpx.Client(base_url=live_service.url, timeout=60, trust_env=False) as client:
        yield client
        assert caption(client, SQUARE)
        assert client.get("/readyz").is_success


def caption(client: httpx.Client, svg: str, model: str | None = None) -> str:
    answer = client.post("/v1/captions", json={"svg": svg, "model": model})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["captions"][0]["text"])


def test_http_gives_the_engines_own_captions(client: httpx.Client, live_service: LiveService) -> None:
    engine = Engine.load(str(live_service.base_model), dtype="float32")
    expected = [item.text for item in engine.caption([SQUARE, CIRCLE]) if isinstance(item, Caption)]
    files = [("file", ("a.svg", SQUARE)), ("file", ("b.svg", CIRCLE))]
    results = client.post("/v1/captions", files=files).json()["results"]
    assert [result["captions"][0]["text"] for result in results] == expected
    assert [caption(client, SQUARE), caption(client, CIRCLE)] == expected


def test_concurrent_clients_each_get_their_own(client: httpx.Client) -> None:
    drawings = [f'<svg viewBox="0 0 99 99"><circle r="{radius}"/></svg>' for radius in range(1, 9)]
    alone = [caption(client, drawing) for drawing in drawings]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda drawing: caption(client, drawing), drawings))
    assert together == alone


@pytest.mark.parametrize(
    ("content", "status", "kind"),
    [
        ("just words", 400, "not_svg"),
        ("", 400, "empty"),
        (TRUNCATED, 400, "malformed"),
        (ENTITY_BOMB, 400, "entities"),
    ],
)
def test_bad_files_are_refused(client: httpx.Client, content: str, status: int, kind: str) -> None:
    answer = client.post("/v1/captions", files={"file": ("bad.svg", content)})
    assert answer.status_code == status
    assert answer.json()["error"]["type"] == kind
    assert answer.json()["error"]["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("has_length", [True, False])
def test_a_hundred_megabytes_are_refused_before_they_are_all_sent(
    client: httpx.Client, live_service: LiveService, has_length: bool
) -> None:
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b" " * MIB

    headers = {"content-type": "application/json"} | (
        {"content-length": str(100 * MIB)} if has_length else {}
    )
    began = time.monotonic()
    answer = client.post("/v1/captions", content=body(), headers=headers)
    assert answer.status_code == 413
    assert answer.json()["error"]["type"] == "too_large"
    assert time.monotonic() - began < 20


def test_an_unknown_adapter_is_refused(client: httpx.Client) -> None:
    answer = client.post("/v1/captions", json={"svg": SQUARE, "model": "nobody"})
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "model_not_found"


def served(client: httpx.Client) -> list[str]:
    return [card["id"] for card in client.get("/v1/models").json()["data"]]


def test_an_adapter_dropped_into_the_folder_answers_without_a_restart(
    client: httpx.Client, live_service: LiveService
) -> None:
    base = caption(client, SQUARE)
    assert "fresh" not in served(client)
    make_adapter(live_service.base_model, live_service.adapters_dir / "fresh", "fresh", seed=3)
    assert "fresh" in served(client)
    first = caption(client, SQUARE, "fresh")
    assert first != base
    make_adapter(live_service.base_model, live_service.adapters_dir / "fresh", "fresh", seed=4)
    assert caption(client, SQUARE, "fresh") not in {first, base}
    shutil.rmtree(live_service.adapters_dir / "fresh")
    assert client.post("/v1/captions", json={"svg": SQUARE, "model": "fresh"}).status_code == 404


def test_what_ray_serve_refuses_by_itself_is_not_met(client: httpx.Client) -> None:
    """Unknown paths and wrong methods come to us, and the header for tracing is there once."""
    for answer, status in ((client.get("/nothing"), 404), (client.delete("/v1/models"), 405)):
        assert answer.status_code == status
        assert list(answer.json()) == ["error"]
        assert len(answer.headers.get_list("x-request-id")) == 1


def test_the_page_and_its_files_load(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "SVG captions" in page.text
    assert client.get("/theme.css").is_success
    assert client.get("/docs").is_success


def test_the_page_lets_no_other_site_in(client: httpx.Client) -> None:
    """Gradio's own rule would let any in as soon as the service is not reached as localhost."""
    elsewhere = {"Host": "captions.example", "Origin": "https://evil.example"}
    for path in ("/", "/config", "/gradio_api/info"):
        answer = client.get(path, headers=elsewhere)
        assert answer.status_code == 200, path
        assert "access-control-allow-origin" not in answer.headers, path


def test_rays_dashboard_listens_on_loopback_only(live_service: LiveService) -> None:
    """It runs code for whoever reaches it."""
    port = int(live_service.jobs_url.rpartition(":")[2])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [
        row[1].partition(":")[0] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"
    ]
    assert listening == ["0100007F"]


def test_a_submitted_job_finds_the_project(live_service: LiveService) -> None:
    ray = str(Path(sys.executable).parent / "ray")
    script = "import sys, captioning, evaluation, training, ray; print('found', sys.prefix); ray.init()"
    job = subprocess.run(
        [ray, "job", "submit", "--address", live_service.jobs_url, "--", "python", "-c", script],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "RAY_AUTH_MODE": "token"},
        check=False,
    )
    assert job.returncode == 0, job.stdout + job.stderr
    assert f"found {sys.prefix}" in job.stdout
