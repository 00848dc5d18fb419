"""What is noted of a request: enough to know what became of it, and nothing of what was in it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from services.access import add_key
from services.watch import Record, Watch, current
from tests.services.helpers import CIRCLE, SQUARE, TRUNCATED, FakeEngine, service


@pytest.fixture
def records() -> list[Record]:
    return []


@pytest.fixture
def watched(base_model: Path, engine: FakeEngine, records: list[Record]) -> Iterator[TestClient]:
    with service(base_model, engine, records.append, max_upload_bytes=100_000) as client:
        yield client


def test_a_request_is_noted_with_all_that_was_learnt_on_the_way(
    watched: TestClient, records: list[Record]
) -> None:
    answer = watched.post("/v1/captions", json={"svg": CIRCLE}, headers={"X-Request-ID": "mine"})
    [record] = records
    assert (record.method, record.endpoint, record.status) == ("POST", "/v1/captions", 200)
    assert (record.outcome, record.model, record.request_id) == ("ok", "tiny", "mine")
    assert record.removed == Counter({"script": 1})
    usage = answer.json()["usage"]
    assert (record.prompt_tokens, record.completion_tokens) == tuple(usage.values())
    assert 0 < record.seconds < 60


def test_each_refused_drawing_is_counted_by_its_reason(watched: TestClient, records: list[Record]) -> None:
    files = [("file", ("a.svg", SQUARE)), ("file", ("b.svg", TRUNCATED)), ("file", ("c.svg", "words"))]
    watched.post("/v1/captions", files=files)
    watched.post("/v1/captions", json={"svg": TRUNCATED})
    several, one = records
    assert (several.drawings, several.outcome) == (3, "ok")
    assert several.refused == Counter({"malformed": 1, "not_svg": 1})
    assert (one.drawings, one.status, one.outcome) == (1, 400, "malformed")


@pytest.mark.parametrize(
    ("method", "path", "body_bytes", "endpoint", "outcome"),
    [
        ("GET", "/v1/models", 0, "/v1/models", "200 ok"),
        ("GET", "/v1/else", 0, "unknown", "404 not_found"),
        ("DELETE", "/v1/models", 0, "/v1/models", "405 method_not_allowed"),
        ("POST", "/v1/captions", 1, "/v1/captions", "415 unsupported_media_type"),
        ("POST", "/v1/captions", 200_000, "unknown", "413 too_large"),
    ],
)
def test_the_outcome_is_the_errors_type(  # noqa: PLR0917
    watched: TestClient,
    records: list[Record],
    method: str,
    path: str,
    body_bytes: int,
    endpoint: str,
    outcome: str,
) -> None:
    watched.request(method, path, content=b"x" * body_bytes)
    [record] = records
    assert (record.endpoint, f"{record.status} {record.outcome}") == (endpoint, outcome)


def test_a_bug_is_an_outcome_too(watched: TestClient, engine: FakeEngine, records: list[Record]) -> None:
    engine.has_a_bug = True
    watched.post("/v1/captions", json={"svg": SQUARE})
    assert (records[0].status, records[0].outcome) == (500, "internal_error")


@pytest.mark.parametrize(
    ("problem", "expected"),
    [(asyncio.CancelledError(), (499, "cancelled")), (OSError(), (200, "broken_off"))],
)
def test_what_does_not_end_well_is_noted(
    records: list[Record], problem: BaseException, expected: tuple[int, str]
) -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise problem

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(_message: Message) -> None:
        pass

    with pytest.raises(type(problem)):
        asyncio.run(Watch(app, records.append)({"type": "http", "method": "GET"}, receive, send))
    assert (records[0].status, records[0].outcome) == expected


def test_requests_at_the_same_time_do_not_mix(
    base_model: Path, engine: FakeEngine, records: list[Record]
) -> None:
    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        current().drawings = scope["number"]
        await asyncio.sleep(0.01)
        await asyncio.gather(asyncio.to_thread(current().refuse, "late"))

    async def many() -> None:
        watch = Watch(app, records.append)
        scopes = [{"type": "http", "method": "GET", "number": number} for number in range(8)]
        await asyncio.gather(*(watch(scope, None, None) for scope in scopes))  # type: ignore[arg-type]

    asyncio.run(many())
    assert sorted(record.drawings for record in records) == list(range(1, 9))


def test_a_line_of_the_log_says_it_all_but_drawing_caption_and_key(
    base_model: Path, engine: FakeEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "services")
    key = add_key(tmp_path / "keys.yaml", "website")
    with service(base_model, engine, keys_file=tmp_path / "keys.yaml") as client:
        client.post("/v1/captions", json={"svg": SQUARE}, headers={"Authorization": f"Bearer {key}"})
        client.post("/v1/captions", json={"svg": SQUARE}, headers={"Authorization": "Bearer svg_wrong"})
        client.get("/readyz")
    known, stranger, probe = [record for record in caplog.records if record.name == "services.watch"]
    fields = vars(known)
    assert known.getMessage() == "POST /v1/captions 200"
    assert {name: fields[name] for name in ("endpoint", "status", "outcome", "model", "key")} == {
        "endpoint": "/v1/captions",
        "status": 200,
        "outcome": "ok",
        "model": "tiny",
        "key": "website",
    }
    assert fields["completion_tokens"] == 3
    assert fields["ms"] >= 0
    assert len(fields["request_id"]) == 32
    assert vars(stranger)["outcome"] == "invalid_api_key"
    assert (known.levelno, probe.levelno) == (logging.INFO, logging.DEBUG)
    everything = json.dumps([vars(record) for record in caplog.records], default=str)
    for secret in (key, "svg_wrong", "<rect", "by base"):
        assert secret not in everything
