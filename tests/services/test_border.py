"""What holds for every request: limits, deadline, headers, and no traceback on the wire."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.border import SECURITY_HEADERS, Border
from services.watch import Record
from tests.services.helpers import SQUARE, FakeEngine, api_app, service

MIB = 1 << 20


def test_every_answer_carries_the_security_headers_and_a_request_id(client: TestClient) -> None:
    for answer in (client.get("/healthz"), client.get("/nothing"), client.post("/v1/captions")):
        assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
        assert len(answer.headers["x-request-id"]) == 32
        assert "access-control-allow-origin" not in answer.headers
    assert client.get("/healthz", headers={"X-Request-ID": "mine-1"}).headers["x-request-id"] == "mine-1"


def test_a_body_that_announces_too_much_is_refused_unread(client: TestClient) -> None:
    answer = client.post("/v1/captions", content=b"", headers={"content-length": str(100 * MIB)})
    assert answer.status_code == 413
    assert answer.json()["error"]["type"] == "too_large"
    assert "8,388,608 bytes" in answer.json()["error"]["message"]


def test_a_body_without_a_length_is_refused_when_it_passes_the_limit() -> None:
    """The rest of an endless upload is never asked for."""
    chunks_read = 0

    async def receive() -> Message:
        nonlocal chunks_read
        chunks_read += 1
        return {"type": "http.request", "body": b"x" * MIB, "more_body": True}

    async def read_all(_scope: Scope, receive: Receive, _send: Send) -> None:
        while (await receive())["more_body"]:
            pass

    status = _call(Border(read_all, max_body_bytes=3 * MIB, deadline_s=5), receive)
    assert (status, chunks_read) == (413, 4)


def test_what_is_late_gets_504(base_model: Path, engine: FakeEngine) -> None:
    engine.delay_s = 5
    with service(base_model, engine, deadline_s=0.2) as client:
        answer = client.post("/v1/captions", json={"svg": SQUARE})
    assert answer.status_code == 504
    assert answer.json()["error"]["type"] == "deadline_exceeded"


def test_beyond_the_limit_requests_are_turned_away_at_once(base_model: Path, engine: FakeEngine) -> None:
    engine.delay_s = 1.0
    with service(base_model, engine, max_pending=2) as client, client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post("/v1/captions", json={"svg": SQUARE}), range(8)))
        assert sorted(answer.status_code for answer in answers) == [200] * 2 + [503] * 6
        refusal = next(answer for answer in answers if answer.status_code == 503)
        assert refusal.json()["error"]["type"] == "overloaded"
        assert refusal.headers["retry-after"] == "1"
        engine.delay_s = 0
        assert client.post("/v1/captions", json={"svg": SQUARE}).status_code == 200


def test_a_bug_is_a_500_in_words_and_a_traceback_in_the_log(
    client: TestClient, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.has_a_bug = True
    answer = client.post("/v1/captions", json={"svg": SQUARE})
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "internal_error"
    assert "secret" not in answer.text
    assert answer.json()["error"]["request_id"] in caplog.text
    assert "secret detail" in caplog.text


def test_who_hangs_up_while_sending_is_no_fault_of_ours(base_model: Path, engine: FakeEngine) -> None:
    records: list[Record] = []
    messages: list[Message] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json")]
    scope = {
        "type": "http",
        "path": "/v1/captions",
        "method": "POST",
        "headers": headers,
        "query_string": b"",
    }

    async def ask(app: ASGIApp) -> None:
        await app(scope, receive, send)

    with api_app(base_model, engine, records.append) as app:
        asyncio.run(ask(app))
    assert sent == []
    assert [(record.status, record.outcome) for record in records] == [(499, "cancelled")]


def _call(app: Border, receive: Receive) -> int:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app({"type": "http", "path": "/v1/x", "method": "POST", "headers": []}, receive, send))
    return int(sent[0]["status"])
