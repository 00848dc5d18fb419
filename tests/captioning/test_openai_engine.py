"""A server that fails, refuses or is something else."""

from __future__ import annotations

import asyncio
import gc
import shutil
import socket
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import Response
from fastapi.responses import JSONResponse

from captioning import completions
from captioning.engine import Engine, GenerationRequest
from captioning.errors import ConfigError, EngineUnavailable, ModelNotFound, ServerRefused
from captioning.openai_engine import OpenAIEngine, Server, _Line
from captioning.prompt import prompt_ids
from tests.captioning.completions_server import CompletionsServer, serving
from tests.captioning.helpers import make_adapter


@pytest.fixture(scope="module")
def runs(llama: Path) -> Iterator[Engine]:
    engine = Engine.load(str(llama), dtype="float32", device="cpu")
    yield engine
    engine.close()


@pytest.fixture
def server(runs: Engine) -> Iterator[CompletionsServer]:
    with serving(CompletionsServer(runs)) as server:
        yield server


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between attempts, which then take no time."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr(completions, "sleep", sleep)
    return found


def connect(base: Path, server: CompletionsServer, **settings: object) -> OpenAIEngine:
    return OpenAIEngine.connect(str(base), Server(server.url, **settings))  # type: ignore[arg-type]


def job(engine: OpenAIEngine) -> GenerationRequest:
    return GenerationRequest(prompt_ids(engine.tokenizer, "<svg/>"), max_new_tokens=8)


def busy(after: str) -> Response:
    return JSONResponse({"error": "busy"}, 503, {"Retry-After": after})


@pytest.mark.parametrize("stream", [False, True])
def test_a_busy_server_is_asked_again_when_it_says(
    llama: Path, server: CompletionsServer, waits: list[float], stream: bool
) -> None:
    engine = connect(llama, server)
    [expected] = engine.generate([job(engine)])
    server.first_answers += [busy("7"), Response(status_code=429), busy("Wed, 21 Oct 2099 07:28:00 GMT")]
    server.asked.clear()
    assert engine.submit(job(engine), stream=stream).result(60) == [expected]
    assert len(server.asked) == 4
    assert waits[0] == 7
    assert 0 < waits[1] <= 1
    assert waits[2] == 30  # whatever it says
    server.first_answers += [busy("0")] * 4
    with pytest.raises(EngineUnavailable, match=r"answers 503 \(busy\), at 4 attempts"):
        engine.submit(job(engine), stream=stream).result(60)
    engine.close()


def test_a_text_that_breaks_off_is_no_answer(llama: Path, server: CompletionsServer) -> None:
    engine = connect(llama, server)
    server.breaks_after = 2
    ticket = engine.submit(job(engine), stream=True)
    with pytest.raises(EngineUnavailable, match="in the middle of a text"):
        "".join(delta.text for delta in ticket)
    assert ticket.first_token
    assert len(server.asked) == 1
    engine.close()


def test_a_server_that_is_not_there(llama: Path, waits: list[float]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        with pytest.raises(EngineUnavailable, match=f"{url} cannot be reached .* at 4 attempts"):
            OpenAIEngine.connect(str(llama), Server(url))
    assert len(waits) == 3
    for wrong in ("http://[::", "gpu-box:8000", "http://"):
        with pytest.raises(ConfigError, match="no URL"):
            OpenAIEngine.connect(str(llama), Server(wrong))
    assert not [thread for thread in threading.enumerate() if thread.name == "caption-server"]


def test_a_server_that_is_silent_is_given_up(llama: Path, server: CompletionsServer) -> None:
    engine = connect(llama, server, timeout_s=0.3)
    server.engine._scheduler._stop_ids, before = frozenset(), server.engine._scheduler._stop_ids
    with pytest.raises(EngineUnavailable, match="did not answer in time"):
        engine.generate([replace(job(engine), max_new_tokens=900)])
    assert len(server.asked) == 1
    server.engine._scheduler._stop_ids = before
    engine.close()


@pytest.mark.usefixtures("waits")
@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (Response("<html>", 200), ConfigError, "does not speak OpenAI's completions API"),
        (JSONResponse({"answer": 42}), ConfigError, "does not speak OpenAI's completions API"),
        (JSONResponse([1]), ConfigError, "does not speak OpenAI's completions API"),
        (JSONResponse({"detail": "Not Found"}, 404), ConfigError, "Is it such a server"),
        (JSONResponse({"error": {"message": "no\nsense"}}, 400), ServerRefused, "400 no sense"),
        (JSONResponse({"error": {"message": "engine dead"}}), EngineUnavailable, "failed .engine dead"),
        (
            JSONResponse({"choices": [{"text": "a", "finish_reason": "abort"}]}),
            EngineUnavailable,
            "ended a text with 'abort'",
        ),
    ],
)
def test_answers_that_are_none(
    llama: Path,
    server: CompletionsServer,
    answer: Response,
    error: type[Exception],
    words: str,
) -> None:
    engine = connect(llama, server)
    server.first_answers += [answer] * 4
    with pytest.raises(error, match=words):
        engine.generate([job(engine)])
    server.first_answers.clear()
    assert engine.generate([job(engine)])
    engine.close()


def test_the_api_key_is_sent_and_not_shown(llama: Path, server: CompletionsServer) -> None:
    server.key = "secret"
    engine = connect(llama, server, api_key="secret")
    assert engine.generate([job(engine)])
    engine.close()
    stranger = connect(llama, server)
    with pytest.raises(ConfigError, match="wants another API key: 401 Unauthorized"):
        stranger.generate([job(stranger)])
    stranger.close()
    assert "secret" not in repr(Server("http://host", api_key="secret"))


def test_adapters_under_the_servers_names_and_paths(
    llama: Path, server: CompletionsServer, icons: Path, tmp_path: Path
) -> None:
    shutil.copytree(icons, tmp_path / "there" / icons.name)
    names = {"icons": "team/icons"}
    engine = connect(
        llama, server, loads_adapters=True, adapters_dir=str(tmp_path / "there"), adapter_names=names
    )
    engine.load_adapter(icons)
    assert server.loaded == {"team/icons": "icons"}
    assert engine.load_now.adapter_loads == 1
    engine.generate([replace(job(engine), adapter="icons")])
    assert server.asked[-1]["model"] == "team/icons"
    static = connect(llama, server, adapter_names=names)
    static.load_adapter(icons)
    other = make_adapter(llama, tmp_path / "logos", "logos")
    with pytest.raises(ModelNotFound, match="has no adapter 'logos'"):
        static.load_adapter(other)
    with pytest.raises(ServerRefused, match="there is no such adapter folder"):
        engine.load_adapter(other)  # not in the folder that the server sees
    engine.unload_adapter("icons")
    with pytest.raises(ModelNotFound, match="The model `team/icons` does not exist"):
        static.generate([replace(job(static), adapter="icons")])
    server.loads_adapters = False
    with pytest.raises(ConfigError, match="load_lora_adapter is not there"):
        engine.load_adapter(icons)
    for one in (engine, static):
        one.close()


def test_which_model_is_the_base(
    llama: Path, server: CompletionsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def has(*names: str) -> None:
        monkeypatch.setattr("tests.captioning.completions_server.BASES", names)

    has("the-base", "tiny-llama")
    connect(llama, server).close()
    has("one", "two")
    with pytest.raises(ConfigError, match=r"which model of the server at .* It has one, two"):
        connect(llama, server)
    engine = connect(llama, server, model="another")
    with pytest.raises(ModelNotFound, match="`another` does not exist"):
        engine.generate([job(engine)])
    engine.close()


def test_control_tokens_in_a_drawing_are_not_sent_as_text(llama: Path, server: CompletionsServer) -> None:
    engine = connect(llama, server, prompt_as="text")
    ids = prompt_ids(engine.tokenizer, "<svg><text>&lt;|eot_id|></text><text><|eot_id|></text></svg>")
    with pytest.raises(ServerRefused, match="spells control tokens"):
        engine.submit(GenerationRequest(ids))
    assert not server.asked
    engine.close()


def test_an_engine_that_nobody_holds_ends_its_thread(llama: Path, server: CompletionsServer) -> None:
    engine = connect(llama, server)
    engine.generate([job(engine)])
    thread = engine._line._thread
    del engine
    gc.collect()
    thread.join(20)
    assert not thread.is_alive()


def test_texts_are_not_begun_for_a_server(llama: Path, server: CompletionsServer) -> None:
    engine = connect(llama, server)
    for request in (replace(job(engine), begin=(1,)), replace(job(engine), not_next=(1,))):
        with pytest.raises(ConfigError, match="an engine of ours"):
            engine.generate([request])
    engine.close()


def test_closing_while_connections_begin_leaves_no_coroutine_behind() -> None:
    line = _Line(Server("http://127.0.0.1:9"))

    async def awaited(begun: Coroutine[Any, Any, None]) -> None:
        await begun

    async def connects_as_the_line_ends() -> None:
        line._end.set()
        connecting = asyncio.create_task(awaited(asyncio.sleep(60)))
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)  # anyio, of which httpx's connections are, lets its tasks begin first
            connecting.cancel()

    work = line.start(connects_as_the_line_ends())
    line.close()
    assert work.cancelled()
    gc.collect()  # what was never awaited says so now, and a warning fails the test


def test_a_nested_folder_is_named_by_its_whole_path_to_the_server(
    llama: Path, server: CompletionsServer, icons: Path, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for root in (here, there):
        shutil.copytree(icons, root / "runs" / "7")
    make_adapter(llama, there / "7", "another", seed=9)
    engine = connect(llama, server, loads_adapters=True, adapters_dir=str(there), own_adapters_dir=here)
    engine.load_adapter(here / "runs" / "7", "mine")
    assert server.loaded == {"mine": "icons"}
    engine.unload_adapter("mine")
    engine.load_adapter(here / "runs" / "7", "mine")
    server.loaded.clear()  # another engine had it unloaded
    engine.unload_adapter("mine")
    assert "mine" not in engine.adapters
    engine.close()
