"""Captions that are written anew where they are false: the real judge, and an engine with drafts at hand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from captioning.generation import GenerationRequest
from rendering import SvgCaptionError
from services.captions import Judged
from services.engine_host import Outcome
from services.errors import overloaded
from services.judge import Judge
from services.watch import Record
from tests.services.helpers import SQUARE, TRUNCATED, FakeEngine, service
from tests.services.test_api import caption, upload
from tests.services.test_stream import events, stream
from tests.tiny_models import tiny_llama_tokenizer

FALSE, BETTER, TRUE = "A blue circle.", "A red circle.", "A red square."


class DraftingEngine(FakeEngine):
    """Is right at the third draft."""

    def __init__(self) -> None:
        super().__init__()
        self.says = FALSE
        self.goes_on = {"A": BETTER, "A red": TRUE}
        self.fails_with: Exception | None = None  # when it is asked again
        self.is_slow_after: str | None = None  # what a text begins with

    async def generate(self, requests: Sequence[GenerationRequest]) -> list[Outcome]:
        if self.fails_with and requests[0].not_next:
            raise self.fails_with
        begun = str(tiny_llama_tokenizer().decode(list(requests[0].begin))).strip()
        await asyncio.sleep(60 * (begun == self.is_slow_after))
        return await super().generate(requests)


@pytest.fixture
def drafting() -> DraftingEngine:
    return DraftingEngine()


@pytest.fixture
def records() -> list[Record]:
    return []


@pytest.fixture
def client(base_model: Path, drafting: DraftingEngine, records: list[Record]) -> Iterator[TestClient]:
    with service(base_model, drafting, records.append, check_timeout_s=60, revise_timeout_s=60) as client:
        yield client


def only(answer: Any) -> dict[str, Any]:
    [said] = answer["captions"]
    return dict(said)


def test_what_is_false_is_written_anew(
    client: TestClient, drafting: DraftingEngine, records: list[Record]
) -> None:
    answer = caption(client, revise=True).json()
    said = only(answer)
    assert (said["text"], said["draft"]) == (TRUE, FALSE)
    assert {claim["text"]: claim["verdict"] for claim in said["claims"]} == {"red": "true", "square": "true"}
    assert answer["svg"]["warnings"] == []
    first, *others = drafting.requests
    assert (first.begin, first.not_next) == ((), ())
    assert all(request.prompt_ids == first.prompt_ids and request.not_next for request in others)
    begun = sum(len(request.begin) for request in others)
    assert answer["usage"] == {
        "prompt_tokens": len(first.prompt_ids),
        "completion_tokens": 3 * len(drafting.requests) - begun,
    }
    assert records[-1].completion_tokens == answer["usage"]["completion_tokens"]
    timings = answer["timings_ms"]
    assert timings["total"] > timings["check"] + timings["revise"]


def test_a_true_caption_is_asked_for_once(client: TestClient, drafting: DraftingEngine) -> None:
    drafting.says = TRUE
    said = only(caption(client, revise=True).json())
    assert said["text"] == TRUE
    assert "draft" not in said
    assert len(drafting.requests) == 1


def test_a_stream_has_the_draft_in_pieces_and_the_best_at_its_end(client: TestClient) -> None:
    *pieces, done = events(stream(client, SQUARE, revise=True))
    assert "".join(piece.data["text"] for piece in pieces) == FALSE
    assert (only(done.data)["text"], only(done.data)["draft"]) == (TRUE, FALSE)


def test_each_caption_is_revised_by_itself(client: TestClient, drafting: DraftingEngine) -> None:
    other = SQUARE.replace("red", "green")
    answer = upload(client, SQUARE, TRUNCATED, other, revise="true", n="2", temperature="1", seed="5")
    red, refused, green = answer.json()["results"]
    assert [said["text"] for said in red["captions"]] == [TRUE, TRUE]
    assert refused["status"] == 400
    assert all(any(claim["verdict"] == "false" for claim in said["claims"]) for said in green["captions"])
    assert {request.seed for request in drafting.requests if request.not_next} == {5, 6}


def test_an_engine_that_is_lost_meanwhile_costs_no_caption(
    client: TestClient, drafting: DraftingEngine
) -> None:
    drafting.fails_with = overloaded("secret detail", "engine_unavailable")
    answer = caption(client, revise=True)
    assert answer.status_code == 200
    assert only(answer.json())["text"] == FALSE
    assert answer.json()["svg"]["warnings"] == [
        "The captions were not revised to the end: the engine did not answer."
    ]


def test_a_draft_that_fails_costs_no_caption(client: TestClient, drafting: DraftingEngine) -> None:
    answered = drafting._answer

    def fail_later(request: GenerationRequest) -> Outcome:
        return SvgCaptionError("no memory") if request.not_next else answered(request)

    drafting._answer = fail_later  # type: ignore[method-assign]
    answer = caption(client, revise=True).json()
    assert only(answer)["text"] == FALSE
    assert answer["svg"]["warnings"] == ["The captions were not revised to the end: no memory."]


def test_what_was_revised_until_then_stays(base_model: Path, drafting: DraftingEngine) -> None:
    drafting.is_slow_after = "A red"
    with service(base_model, drafting, check_timeout_s=60, revise_timeout_s=2) as client:
        answer = caption(client, revise=True).json()
    assert (only(answer)["text"], only(answer)["draft"]) == (BETTER, FALSE)
    assert "no more time after 2 s" in answer["svg"]["warnings"][0]


@pytest.mark.parametrize("deadline_s", [4, 1.1])
def test_a_caption_is_not_lost_to_the_deadline(
    base_model: Path, drafting: DraftingEngine, deadline_s: float
) -> None:
    """Neither to the writing of drafts nor, where there is hardly any time left, to the judging."""
    drafting.is_slow_after = "A"
    with service(
        base_model, drafting, check_timeout_s=60, revise_timeout_s=60, deadline_s=deadline_s
    ) as client:
        answer = caption(client, revise=True)
        *_, done = events(stream(client, SQUARE, revise=True))
    assert answer.status_code == 200
    assert only(answer.json())["text"] == only(done.data)["text"] == FALSE
    assert "the limit" in answer.json()["svg"]["warnings"][0]


def test_drafts_of_one_drawing_are_judged_together(
    client: TestClient, drafting: DraftingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[int] = []
    verdicts = Judge.verdicts

    async def counted(self: Judge, svg: str, texts: Sequence[str], *limits: float) -> list[Judged]:
        judged.append(len(texts))
        return await verdicts(self, svg, texts, *limits)

    monkeypatch.setattr(Judge, "verdicts", counted)
    answer = upload(client, SQUARE, revise="true", n="4", temperature="1")
    assert [said["text"] for said in answer.json()["captions"]] == [TRUE] * 4
    assert judged == [4] * len(judged)


@pytest.mark.parametrize("worse", ["", "A."])
def test_a_draft_that_says_nothing_is_not_the_answer(
    client: TestClient, drafting: DraftingEngine, worse: str
) -> None:
    drafting.says = "A red circle in a red square."
    drafting.goes_on = {"A red": worse}
    said = only(caption(client, revise=True).json())
    assert said["text"] == drafting.says
    assert "draft" not in said


def test_the_best_so_far_is_the_answer_when_time_is_up(base_model: Path, drafting: DraftingEngine) -> None:
    drafting.delay_s = 0.3
    with service(base_model, drafting, check_timeout_s=60, revise_timeout_s=0.2) as client:
        answer = caption(client, revise=True).json()
    assert only(answer)["text"] == FALSE
    assert answer["svg"]["warnings"] == [
        "The captions were not revised to the end: there was no more time after 0.2 s, the limit."
    ]


def test_a_caption_that_cannot_be_judged_is_not_revised(base_model: Path, drafting: DraftingEngine) -> None:
    with service(base_model, drafting, check_timeout_s=0.001) as client:
        answer = caption(client, revise=True).json()
    assert answer["captions"] == [{"text": FALSE, "finish_reason": "stop"}]
    assert len(drafting.requests) == 1
    assert "not checked" in answer["svg"]["warnings"][0]


def test_a_model_in_a_server_does_not_revise(base_model: Path, drafting: DraftingEngine) -> None:
    with service(base_model, drafting, engine_url="http://gpu-box:8000") as client:
        answer = caption(client, revise=True)
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == "revise"
    assert "runs in a server" in answer.json()["error"]["message"]
