"""OpenAI's chat completions, through OpenAI's own client: where the drawing may be, and what comes back."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import openai
import pytest
from starlette.testclient import TestClient

from tests.captioning.helpers import make_adapter
from tests.services.helpers import CIRCLE, LONG, SQUARE, TRUNCATED, FakeEngine

BASE64_URI = "data:image/svg+xml;base64," + base64.b64encode(CIRCLE.encode()).decode()


@pytest.fixture
def chat(client: TestClient) -> Iterator[openai.OpenAI]:
    """The client of the `openai` package, whose requests go to the service under test."""
    with openai.OpenAI(
        base_url="http://testserver/v1", api_key="none", http_client=client, max_retries=0
    ) as chat:
        yield chat


def ask(chat: openai.OpenAI, content: Any = SQUARE, **options: Any) -> Any:
    messages: Any = [{"role": "user", "content": content}]
    return chat.chat.completions.create(**{"model": "tiny", "messages": messages} | options)


def image(uri: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": uri}}]


def test_an_answer_has_all_that_the_client_reads(chat: openai.OpenAI) -> None:
    answer = ask(chat, n=2, temperature=1)
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert answer.model == "tiny"
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert answer.choices[1].message.role == "assistant"
    assert answer.choices[1].message.content == "by base"
    assert answer.choices[1].finish_reason == "stop"
    assert answer.usage.completion_tokens == 6
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 6


@pytest.mark.parametrize(
    "content",
    [
        CIRCLE,
        f"Say what you see.\n```svg\n{CIRCLE}\n```\nBe brief.",
        f"```\n{CIRCLE}\n```",
        f"Here <it> is: <?xml version='1.0' encoding='ISO-8859-1'?>\n{CIRCLE} Thanks > all",
        [{"type": "text", "text": CIRCLE}],
        image(BASE64_URI),
        image("data:image/svg+xml," + quote(CIRCLE)),
        image("data:image/svg+xml;charset=utf-8;base64," + quote(BASE64_URI.partition(",")[2])),
    ],
)
def test_the_drawing_is_found_wherever_clients_put_it(
    chat: openai.OpenAI, client: TestClient, engine: FakeEngine, content: Any
) -> None:
    client.post("/v1/captions", json={"svg": CIRCLE})
    ask(chat, content)
    assert engine.requests[0] == engine.requests[1]


def test_only_the_last_user_message_is_read(chat: openai.OpenAI, engine: FakeEngine) -> None:
    def turn(role: str, content: Any) -> Any:
        return {"role": role, "content": content}

    ask(chat, SQUARE)
    turns = [turn("system", "Be kind."), turn("user", CIRCLE), turn("assistant", None), turn("user", SQUARE)]
    chat.chat.completions.create(model="tiny", messages=turns)
    assert engine.requests[0] == engine.requests[1]


def test_options_reach_the_engine(chat: openai.OpenAI, engine: FakeEngine) -> None:
    ask(chat, n=2, max_tokens=9, temperature=0.5, seed=7, stop=["a"], user="me", top_p=1, tools=[])
    ask(chat, max_tokens=9, max_completion_tokens=10, stop="b", n=None, temperature=None)
    asked = [(r.n, r.max_new_tokens, r.temperature, r.seed, r.stop) for r in engine.requests]
    assert asked == [(2, 9, 0.5, 7, ("a",)), (1, 10, 0.0, None, ("b",))]


def test_the_model_is_an_adapter_or_the_base(chat: openai.OpenAI, base_model: Path, tmp_path: Path) -> None:
    make_adapter(base_model, tmp_path / "adapters" / "icons", "icons")
    assert [model.id for model in chat.models.list()] == ["tiny", "icons"]
    assert ask(chat, model="icons").choices[0].message.content == "by icons"


def test_chunks_make_the_answer(chat: openai.OpenAI) -> None:
    plain = ask(chat, n=2, temperature=1)
    chunks = list(ask(chat, n=2, temperature=1, stream=True, stream_options={"include_usage": True}))
    texts, ends = ["", ""], ["", ""]
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            ends[choice.index] = choice.finish_reason or ends[choice.index]
    assert texts == [choice.message.content for choice in plain.choices]
    assert ends == [choice.finish_reason for choice in plain.choices]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert (chunks[-1].usage, chunks[-1].choices) == (plain.usage, [])
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in ask(chat, stream=True))


@pytest.mark.parametrize(
    ("content", "options", "kind", "param"),
    [
        (TRUNCATED, {}, "malformed", "messages"),
        ("no drawing", {}, "invalid_request", "messages"),
        ("", {}, "invalid_request", "messages"),
        (f"```{SQUARE}```{CIRCLE}```{CIRCLE}```", {}, "invalid_request", "messages"),
        ([*image(BASE64_URI), *image(BASE64_URI)], {}, "invalid_request", "messages"),
        (image("data:image/png;base64,AAAA"), {}, "invalid_request", "messages"),
        (image("data:image/svg+xml;base64,A"), {}, "invalid_request", "messages"),
        (image("https://example.org/a.svg"), {}, "svg_url_refused", "messages"),
        ([{"type": "input_audio"}], {}, "invalid_request", "messages"),
        (
            [{"type": "image_url", "image_url": {}}],
            {},
            "invalid_request",
            "messages.0.content.0.image_url.url",
        ),
        (LONG, {}, "prompt_too_long", "messages"),
        (SQUARE, {"model": "nobody"}, "model_not_found", "model"),
        (SQUARE, {"top_p": 0.5}, "invalid_request", "top_p"),
        (SQUARE, {"tools": [{"type": "function"}]}, "invalid_request", "tools"),
        (SQUARE, {"n": 3}, "invalid_request", "n"),
        (SQUARE, {"max_tokens": 10**6}, "invalid_request", "max_tokens"),
        (SQUARE, {"messages": []}, "invalid_request", "messages"),
    ],
)
def test_a_refusal_is_raised_with_its_type_and_reason(
    chat: openai.OpenAI, content: Any, options: dict[str, Any], kind: str, param: str
) -> None:
    for stream in (False, True):
        with pytest.raises(openai.APIStatusError) as refusal:
            ask(chat, content, stream=stream, **options)
        assert 400 <= refusal.value.status_code < 500
        assert (refusal.value.type, refusal.value.param) == (kind, param)
        body: Any = refusal.value.body
        assert refusal.value.request_id == body["request_id"]


def test_an_error_in_the_middle_of_a_stream_is_raised(chat: openai.OpenAI, engine: FakeEngine) -> None:
    engine.breaks_off = True
    chunks = ask(chat, stream=True)
    with pytest.raises(openai.APIError, match=r"^The engine is restarting\.$") as broken:
        list(chunks)
    assert broken.value.type == "engine_unavailable"
    assert engine.streams == 0
