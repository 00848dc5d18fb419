"""Server-sent events: what is in them, how they end, and what they leave behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from starlette.testclient import TestClient

from tests.services.helpers import CIRCLE, SQUARE, TRUNCATED, FakeEngine, service


class Event(NamedTuple):
    name: str
    data: Any


def events(answer: Any) -> list[Event]:
    """Of a stream, without its comments; that it is well formed is checked."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("\n\n")
    found = []
    for block in answer.text.split("\n\n")[:-1]:
        if block.startswith(":"):
            continue
        name, data = block.split("\n")
        found.append(Event(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def stream(client: TestClient, *svgs: str, **options: Any) -> Any:
    if len(svgs) == 1:
        return client.post("/v1/captions", json={"svg": svgs[0], "stream": True} | options)
    files = [("file", (f"{number}.svg", svg)) for number, svg in enumerate(svgs)]
    return client.post("/v1/captions", files=files, data={"stream": "true"} | options)


def without_times(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name not in {"id", "timings_ms"}}


def test_pieces_come_first_and_the_plain_answer_last(client: TestClient) -> None:
    *deltas, last = events(stream(client, CIRCLE, n=2, temperature=1))
    plain = client.post("/v1/captions", json={"svg": CIRCLE, "n": 2, "temperature": 1}).json()
    assert {delta.name for delta in deltas} == {"delta"}
    assert [tuple(delta.data.values()) for delta in deltas] == [
        (0, 0, "by "),
        (0, 1, "by "),
        (0, 0, "base"),
        (0, 1, "base"),
    ]
    assert last.name == "done"
    assert list(last.data) == list(plain)
    assert without_times(last.data) == without_times(plain)


def test_several_files_in_one_stream_keep_their_own_fate(client: TestClient) -> None:
    *deltas, last = events(stream(client, TRUNCATED, SQUARE, CIRCLE))
    assert [(delta.data["file"], delta.data["text"]) for delta in deltas] == [
        (1, "by "),
        (1, "base"),
        (2, "by "),
        (2, "base"),
    ]
    assert [result["status"] for result in last.data["results"]] == [400, 200, 200]
    assert last.data["results"][0]["error"]["type"] == "malformed"
    [only] = events(stream(client, TRUNCATED, TRUNCATED))
    assert [result["status"] for result in only.data["results"]] == [400, 400]


@pytest.mark.parametrize(
    ("svg", "options", "status"),
    [(TRUNCATED, {}, 400), (SQUARE, {"model": "nobody"}, 404), (SQUARE, {"n": 0}, 422)],
)
def test_what_is_refused_at_once_has_a_status_of_its_own(
    client: TestClient, svg: str, options: dict[str, Any], status: int
) -> None:
    answer = stream(client, svg, **options)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]


def test_an_error_in_the_middle_is_the_last_event(client: TestClient, engine: FakeEngine) -> None:
    engine.breaks_off = True
    answer = stream(client, SQUARE)
    first, last = events(answer)
    assert (first.name, first.data["text"]) == ("delta", "by ")
    assert last.name == "error"
    assert last.data["error"] == {
        "type": "engine_unavailable",
        "message": "The engine is restarting.",
        "param": None,
        "request_id": answer.headers["x-request-id"],
    }
    assert engine.streams == 0


def test_a_bug_in_the_middle_is_told_without_its_details(
    client: TestClient, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.has_a_bug = True
    answer = stream(client, SQUARE)
    [last] = events(answer)
    assert last.data["error"]["type"] == "internal_error"
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] in caplog.text
    assert "secret detail" in caplog.text


def test_the_deadline_ends_a_stream_in_words(base_model: Path, engine: FakeEngine) -> None:
    engine.delay_s = 30
    with service(base_model, engine, deadline_s=0.3) as client:
        [last] = events(stream(client, SQUARE))
    assert last.data["error"]["type"] == "deadline_exceeded"
    assert engine.streams == 0


def test_a_silent_stream_is_kept_alive(
    client: TestClient, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.streams._QUIET_S", 0.05)
    engine.delay_s = 0.4
    answer = stream(client, SQUARE)
    assert answer.text.count(": ping\n\n") > 2
    assert events(answer)[-1].name == "done"


def test_a_stream_is_inside_the_gate_until_its_end(base_model: Path, engine: FakeEngine) -> None:
    with service(base_model, engine, max_pending=1) as client:
        assert events(stream(client, SQUARE))[-1].name == "done"
        assert events(stream(client, SQUARE))[-1].name == "done"
        engine.breaks_off = True
        assert events(stream(client, SQUARE))[-1].name == "error"
        assert stream(client, TRUNCATED).status_code == 400
        engine.breaks_off = False
        assert events(stream(client, SQUARE))[-1].name == "done"
