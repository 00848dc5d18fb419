"""What goes wrong while clients wait: a killed engine, overload, clients that leave, files made to harm.

All of it on the live service, over HTTP. Whatever happens to others, a caption is right or refused in words.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from benchmarks.support.clients import CAPTIONED, Answers, ask
from benchmarks.support.replicas import replicas_of
from services.app import APP_NAME
from tests.live_service import SETTINGS, LiveService
from tests.rendering import hostile
from tests.rendering.processes import alive, eventually

pytestmark = pytest.mark.ray

DRAWINGS = [f'<svg viewBox="0 0 99 99"><circle r="{radius}"/></svg>' for radius in range(1, 9)]
LONG = {"svg": DRAWINGS[0], "n": 8, "max_tokens": 256, "temperature": 1.0}
POISON = [*hostile.references().items(), *hostile.soup().items()][:40]


@pytest.fixture
def client(live_service: LiveService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live_service.url, timeout=90, trust_env=False) as client:
        yield client


@pytest.fixture
def captions(client: httpx.Client) -> dict[str, str]:
    """What each drawing gets when nobody else asks."""
    answers = {svg: client.post("/v1/captions", json={"svg": svg}).json() for svg in DRAWINGS}
    return {svg: answer["captions"][0]["text"] for svg, answer in answers.items()}


@contextmanager
def load(url: str, captions: dict[str, str], *, clients: int = 8) -> Iterator[Future[Answers]]:
    """Inside the `with` block, clients keep on asking."""
    over = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        asking = ask(url, captions, clients=clients, go_on=lambda _: not over.is_set())
        answers = pool.submit(asyncio.run, asking)
        try:
            yield answers
        finally:
            over.set()


def test_a_killed_engine_loses_no_request(
    live_service: LiveService, captions: dict[str, str], client: httpx.Client
) -> None:
    with load(live_service.url, captions) as answers:
        assert eventually(lambda: live_service.metrics()["ray_svg_engine_rows"] > 0, 60)
        [engine] = replicas_of(live_service.pid, "Engine")
        os.kill(engine, signal.SIGKILL)
        assert eventually(lambda: not alive(engine))
        assert eventually(lambda: client.get("/readyz").is_success, 120)
    found = answers.result()
    assert set(found.outcomes) <= {CAPTIONED, "504 deadline_exceeded"}, found.outcomes
    assert found.outcomes[CAPTIONED]
    assert not found.wrong
    assert eventually(
        lambda: "asking again" in live_service.log.read_text()
    )  # Ray passes lines on in a while


@pytest.mark.slow
def test_an_update_fails_no_request(live_service: LiveService, captions: dict[str, str]) -> None:
    old = {name: replicas_of(live_service.pid, name) for name in ("Ingress", "Engine")}
    with load(live_service.url, captions) as answers:
        update(live_service, max_pending=63)
        assert eventually(lambda: all(replaced(live_service, name, old[name]) for name in old), 500)
    assert set(answers.result().outcomes) == {CAPTIONED}
    assert not answers.result().wrong


def update(service: LiveService, **changes: int) -> None:
    """What `serve deploy` does, with settings that differ by `changes`."""
    port = int(service.url.rpartition(":")[2])
    folders = {"base_model": str(service.base_model), "adapters_dir": str(service.adapters_dir)}
    as_before = dict(setting.split("=") for setting in SETTINGS)
    application = {
        "name": APP_NAME,
        "import_path": "services.app:build_app",
        "route_prefix": "/",
        "args": {"port": port, **folders, **as_before, **changes},
    }
    answer = httpx.put(
        f"{service.jobs_url}/api/serve/applications/",
        json={"http_options": {"host": "127.0.0.1", "port": port}, "applications": [application]},
        headers={"Authorization": f"Bearer {(Path.home() / '.ray/auth_token').read_text().strip()}"},
        timeout=300,
        trust_env=False,
    )
    assert answer.is_success, answer.text


def replaced(service: LiveService, deployment: str, old: set[int]) -> bool:
    now = replicas_of(service.pid, deployment)
    return len(now) == len(old) and now.isdisjoint(old)


def test_what_is_too_much_is_refused_and_the_rest_is_right(
    live_service: LiveService, captions: dict[str, str]
) -> None:
    found = asyncio.run(ask(live_service.url, captions, clients=160, go_on=lambda number: number < 400))
    assert not found.failures
    assert not found.wrong
    assert found.outcomes["503 overloaded"]
    assert found.outcomes[CAPTIONED]
    assert found.outcomes.total() == 400


def test_clients_that_leave_free_their_places(live_service: LiveService, client: httpx.Client) -> None:
    async def leave() -> None:
        async with httpx.AsyncClient(base_url=live_service.url, trust_env=False) as hasty:
            calls = (hasty.post("/v1/captions", json=LONG, timeout=0.5) for _ in range(24))
            answers = await asyncio.gather(*calls, return_exceptions=True)
        assert any(isinstance(answer, httpx.ReadTimeout) for answer in answers)

    written = live_service.metrics()["ray_svg_engine_new_tokens_total"]
    asyncio.run(leave())
    assert eventually(lambda: not live_service.metrics()["ray_svg_engine_rows"], 60)
    assert client.post("/v1/captions", json={"svg": DRAWINGS[0]}).is_success
    everything = 24 * LONG["n"] * LONG["max_tokens"]  # type: ignore[operator]
    assert live_service.metrics()["ray_svg_engine_new_tokens_total"] - written < everything / 2


def test_files_made_to_harm_fail_alone(
    live_service: LiveService, captions: dict[str, str], client: httpx.Client
) -> None:
    with load(live_service.url, captions, clients=4) as answers:
        for name, data in POISON:
            answer = client.post("/v1/captions", files={"file": (name, data)})
            assert answer.status_code in {200, 400, 413, 422}, (name, answer.text)
    assert set(answers.result().outcomes) == {CAPTIONED}
    assert not answers.result().wrong
