"""Claims of captions in the API's answers: over an engine that says what it is told, and the real judge."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from captioning.generation import Generation, GenerationRequest
from rendering import load
from services.captions import Batch, Captioned
from services.judge import Judge
from tests.rendering.processes import alive, eventually, workers_of
from tests.services.helpers import SQUARE, TRUNCATED, FakeEngine, service
from tests.services.test_api import caption, upload
from tests.services.test_stream import events, stream

CAPTION = "🚗 A blue square on a white ground"  # not one character for all who count in UTF-16


def verdicts(captioned: dict[str, Any]) -> dict[str, str]:
    """By the words that claim something; that these stand where it is said is checked."""
    text, claims = captioned["text"], captioned["claims"]
    assert all(text[claim["start"] : claim["end"]] == claim["text"] for claim in claims)
    return {claim["text"]: claim["verdict"] for claim in claims}


@pytest.fixture
def patient(base_model: Path, engine: FakeEngine) -> Iterator[TestClient]:
    """A service that waits for its judge, however busy the machine is."""
    engine.says = CAPTION
    with service(base_model, engine, check_timeout_s=60) as client:
        yield client


def test_claims_are_judged_against_the_drawing(patient: TestClient) -> None:
    by_json, by_form = caption(patient, check=True), upload(patient, SQUARE, check="true")
    *_, streamed = events(stream(patient, SQUARE, check=True))
    for answer in (by_json.json(), by_form.json(), streamed.data):
        [captioned] = answer["captions"]
        assert verdicts(captioned) == {"blue": "false", "square": "true", "white": "undecidable"}
        assert [claim["kind"] for claim in captioned["claims"]] == ["colour", "shape", "colour"]
        assert answer["svg"]["warnings"] == []
        assert answer["timings_ms"]["total"] > answer["timings_ms"]["check"] > 0


def test_nothing_is_judged_unless_asked_for(patient: TestClient) -> None:
    answer = caption(patient).json()
    assert answer["captions"] == [{"text": CAPTION, "finish_reason": "stop"}]
    assert "check" not in answer["timings_ms"]


def test_a_caption_that_claims_nothing_has_no_claims(patient: TestClient, engine: FakeEngine) -> None:
    engine.says = "A lovely day."
    assert caption(patient, check=True).json()["captions"][0]["claims"] == []


def test_each_caption_of_each_drawing_has_its_own_claims(patient: TestClient) -> None:
    blue = SQUARE.replace("red", "blue")
    answer = upload(patient, SQUARE, TRUNCATED, blue, check="true", n="2", temperature="1").json()
    red_one, refused, blue_one = answer["results"]
    assert [verdicts(each)["blue"] for each in red_one["captions"]] == ["false", "false"]
    assert [verdicts(each)["blue"] for each in blue_one["captions"]] == ["true", "true"]
    assert (refused["status"], refused["captions"]) == (400, None)


def test_what_is_not_judged_in_time_is_said_and_costs_nothing_else(
    base_model: Path, engine: FakeEngine
) -> None:
    with service(base_model, engine, check_timeout_s=0.001) as client:
        answer = caption(client, check=True)
    assert answer.status_code == 200
    assert answer.json()["captions"] == [{"text": "by base", "finish_reason": "stop"}]
    assert answer.json()["svg"]["warnings"] == [
        "The captions were not checked: there was no verdict after 0.001 s, the limit."
    ]


def workers() -> set[int]:
    return workers_of(module="faithfulness.worker")


def judged(judge: Judge, svg: str, text: str = CAPTION) -> Captioned:
    result = Captioned(load(svg.encode()), GenerationRequest([1]), [Generation(text, "stop", 1, 1)])
    [found] = asyncio.run(judge.judge(Batch([result], {"total": 1.0}))).results
    assert isinstance(found, Captioned)
    return found


def test_a_drawing_that_is_too_costly_loses_the_process_its_claims_and_no_more() -> None:
    before = workers()
    curves = "C0 0 900 900 5 5" * 4000
    costly = f'<svg viewBox="0 0 999 999"><path stroke-width="999" stroke="red" d="M0 0{curves}"/></svg>'
    found = judged(Judge(timeout_s=1), costly)
    assert found.judged is None
    assert "no verdict after 1 s" in found.drawing.warnings[-1]
    assert eventually(lambda: not workers() - before)


def test_a_process_that_died_is_replaced() -> None:
    before = workers()
    judge = Judge(timeout_s=60)
    assert judged(judge, SQUARE).judged
    (worker,) = workers() - before
    os.kill(worker, signal.SIGKILL)
    assert eventually(lambda: not alive(worker))
    assert judged(judge, SQUARE).judged


def test_a_drawing_that_takes_too_much_memory_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    many = "".join(f'<circle cx="{x}" cy="{y}" r="9"/>' for x in range(0, 400, 20) for y in range(0, 400, 20))
    found = judged(Judge(timeout_s=60, memory_mib=1), f'<svg viewBox="0 0 400 400">{many}</svg>')
    assert found.judged is None
    assert found.drawing.warnings == ("The captions were not checked: the drawing cannot be judged.",)
    assert "captions were not checked" in caplog.text
