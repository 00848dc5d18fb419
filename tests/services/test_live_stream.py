"""Streams, clients that go away, and adapters that come and go, through Ray Serve: over real HTTP."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import openai
import pytest

from tests.captioning.helpers import make_adapter
from tests.live_service import LiveService
from tests.services.helpers import SQUARE, TRUNCATED

pytestmark = pytest.mark.ray

LONG_TEXT = 800  # tokens: seconds of work


@pytest.fixture
def client(live_service: LiveService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live_service.url, timeout=120, trust_env=False) as client:
        yield client


@pytest.fixture
def chat(live_service: LiveService) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{live_service.url}/v1", api_key="none", max_retries=0) as chat:
        yield chat


def body(**options: Any) -> dict[str, Any]:
    return {"svg": SQUARE, "max_tokens": LONG_TEXT} | options


@contextmanager
def following(client: httpx.Client, **request: Any) -> Iterator[Iterator[tuple[str, Any]]]:
    """The events of a stream, as they arrive."""
    with client.stream("POST", "/v1/captions", **request) as answer:
        assert answer.status_code == 200
        yield _events(answer.iter_lines())


def _events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def test_pieces_come_while_the_text_is_written(client: httpx.Client) -> None:
    plain = client.post("/v1/captions", json=body()).json()
    with following(client, json=body(stream=True)) as events:
        *deltas, (last, answer) = list(events)
    assert len(deltas) > 2
    assert last == "done"
    assert answer["captions"] == plain["captions"]
    assert "".join(delta["text"] for _, delta in deltas) == plain["captions"][0]["text"]


def test_what_the_engine_refuses_has_a_status(client: httpx.Client, live_service: LiveService) -> None:
    folder = make_adapter(live_service.base_model, live_service.adapters_dir / "spoilt", "spoilt")
    (folder / "adapter_model.safetensors").write_bytes(b"nothing")
    answer = client.post("/v1/captions", json=body(stream=True, model="spoilt"))
    shutil.rmtree(folder)
    assert (answer.status_code, answer.json()["error"]["type"]) == (409, "adapter")
    assert client.post("/v1/captions", json=body(stream=True, svg=TRUNCATED)).status_code == 400


@pytest.mark.parametrize("how", ["stream", "plain"])
def test_a_client_that_goes_away_makes_room(
    client: httpx.Client, live_service: LiveService, how: str
) -> None:
    """Its 128 long texts would take the engine's rows for longer than one such text takes alone."""
    alone = client.post("/v1/captions", json=body()).json()
    work: dict[str, Any] = {
        "files": [("file", (f"{number}.svg", SQUARE)) for number in range(16)],
        "data": {"n": "8", "temperature": "0.01", "max_tokens": str(LONG_TEXT)},
    }
    with httpx.Client(base_url=live_service.url, timeout=120, trust_env=False) as leaving:
        if how == "plain":
            with pytest.raises(httpx.ReadTimeout):
                leaving.post("/v1/captions", **work, timeout=2)
        else:
            work["data"]["stream"] = "true"
            with following(leaving, **work) as events:
                next(events)
    after = client.post("/v1/captions", json=body(max_tokens=1)).json()
    assert after["timings_ms"]["generate"] < alone["timings_ms"]["generate"]


def test_openais_client_reads_answers_and_streams(chat: openai.OpenAI, client: httpx.Client) -> None:
    expected = client.post("/v1/captions", json=body(max_tokens=60)).json()["captions"][0]["text"]
    question: Any = {
        "model": "tiny",
        "messages": [{"role": "user", "content": f"What is this?\n```svg\n{SQUARE}\n```"}],
        "max_tokens": 60,
    }
    plain = chat.chat.completions.create(**question)
    assert plain.choices[0].message.content == expected
    chunks = list(chat.chat.completions.create(**question, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == expected
    with pytest.raises(openai.NotFoundError, match=r"No model 'nobody'\. Available: tiny"):
        chat.chat.completions.create(**question | {"model": "nobody"})


def test_adapters_are_loaded_and_unloaded_while_it_runs(
    client: httpx.Client, live_service: LiveService
) -> None:
    def change(what: str, **fields: str) -> httpx.Response:
        return client.post(f"/v1/{what}_lora_adapter", json={"lora_name": "mine"} | fields)

    def caption() -> httpx.Response:
        return client.post("/v1/captions", json=body(model="mine", max_tokens=8))

    runs = live_service.adapters_dir / "runs"
    texts = []
    for seed in (7, 8):
        make_adapter(live_service.base_model, runs / str(seed), "icons", seed=seed)
        assert change("load", lora_path=f"runs/{seed}").is_success
        assert "mine" in [card["id"] for card in client.get("/v1/models").json()["data"]]
        texts.append(caption().json()["captions"][0]["text"])
        assert change("load", lora_path=f"runs/{seed}").status_code == 400
        assert change("unload").is_success
        assert caption().status_code == 404
    assert texts[0] != texts[1]
    assert change("load", lora_path="runs").json()["error"]["type"] == "adapter"
    assert change("unload").status_code == 404
    shutil.rmtree(runs)
