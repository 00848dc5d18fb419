"""A real engine on a tiny model, with adapters that come, change and go while it runs."""

from __future__ import annotations

import asyncio
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from captioning.base_models import resolve, weight_fingerprint
from captioning.engine import Engine, GenerationRequest
from captioning.errors import AdapterError, GenerationFailed, ModelNotFound, ServerRefused
from services.catalog import Catalog
from services.engine_host import End, EngineHost, News, Outcome, Piece
from services.errors import from_domain
from tests.captioning.helpers import make_adapter, make_manifest

PROMPT = list(range(20, 60))


@pytest.fixture
def host(base_model: Path, tmp_path: Path) -> EngineHost:
    spec = resolve(str(base_model))
    engine = Engine.load(str(base_model), dtype="float32", device="cpu")
    return EngineHost(engine, Catalog(spec, weight_fingerprint(spec), tmp_path))


def generate(host: EngineHost, *adapters: str | None) -> list[Outcome]:
    return asyncio.run(host.generate([_request(adapter) for adapter in adapters]))


def running(host: EngineHost) -> Engine:
    assert isinstance(host._engine, Engine)
    return host._engine


def text(outcome: Outcome) -> str:
    assert isinstance(outcome, list), outcome
    return outcome[0].text


def _request(adapter: str | None) -> GenerationRequest:
    return GenerationRequest(PROMPT, adapter, max_new_tokens=12)


def test_an_adapter_is_loaded_when_it_is_asked_for(
    host: EngineHost, base_model: Path, tmp_path: Path
) -> None:
    make_adapter(base_model, tmp_path / "icons", "icons", seed=1)
    base, adapted = generate(host, None, "icons")
    assert text(base) != text(adapted)


def test_a_changed_folder_is_loaded_again(host: EngineHost, base_model: Path, tmp_path: Path) -> None:
    make_adapter(base_model, tmp_path / "icons", "icons", seed=1)
    before = text(generate(host, "icons")[0])
    assert text(generate(host, "icons")[0]) == before
    make_adapter(base_model, tmp_path / "icons", "icons", seed=2)
    assert text(generate(host, "icons")[0]) != before


def test_a_deleted_adapter_is_gone(host: EngineHost, base_model: Path, tmp_path: Path) -> None:
    make_adapter(base_model, tmp_path / "icons", "icons")
    generate(host, "icons")
    shutil.rmtree(tmp_path / "icons")
    base, gone = generate(host, None, "icons")
    assert text(base)
    assert isinstance(gone, ModelNotFound)


def test_an_adapter_that_does_not_fit_fails_alone(host: EngineHost, base_model: Path, tmp_path: Path) -> None:
    folder = make_adapter(base_model, tmp_path / "foreign", "foreign")
    manifest = make_manifest(str(base_model), "foreign", base_fingerprint="sha256:other")
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    make_adapter(base_model, tmp_path / "icons", "icons")
    outcomes = generate(host, "icons", "foreign", None)
    assert [type(outcome) for outcome in outcomes] == [list, AdapterError, list]


def test_a_poison_request_fails_alone(host: EngineHost) -> None:
    def fail_on_the_poison(_: object, args: tuple[Tensor, ...]) -> None:
        if 13 in args[0]:
            raise RuntimeError("CUDA error")

    model: Any = running(host)._model
    model.model.embed_tokens.register_forward_pre_hook(fail_on_the_poison)
    poison = GenerationRequest([13, *PROMPT], max_new_tokens=12)
    good, bad, fine = asyncio.run(host.generate([_request(None), poison, _request(None)]))
    assert text(good) == text(fine)
    assert isinstance(bad, GenerationFailed)
    assert str(bad) == "The model broke down over this request (RuntimeError)."
    assert from_domain(bad, "svg").status_code == 503
    assert from_domain(bad, "svg").param is None


def test_an_adapter_that_was_put_away_for_memory_comes_back(
    host: EngineHost, base_model: Path, tmp_path: Path
) -> None:
    for seed, name in enumerate(("icons", "logos")):
        make_adapter(base_model, tmp_path / name, name, seed=seed)
    icons = text(generate(host, "icons")[0])
    running(host)._shelf._max_bytes = running(host).load_now.adapter_bytes
    assert text(generate(host, "logos")[0]) != icons
    assert list(running(host).adapters) == ["logos"]
    assert text(generate(host, "icons")[0]) == icons


def test_who_goes_away_frees_the_place(host: EngineHost, base_model: Path, tmp_path: Path) -> None:
    make_adapter(base_model, tmp_path / "icons", "icons")
    endless = GenerationRequest(PROMPT, "icons", max_new_tokens=900)

    async def leave() -> None:
        running(host)._scheduler._stop_ids = frozenset()
        call = asyncio.create_task(host.generate([endless, replace(endless, adapter=None)]))
        while running(host).load_now.rows < 2:
            await asyncio.sleep(0.01)
        call.cancel()
        while running(host).load_now.rows:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(leave(), 60))
    assert running(host).load_now.new_tokens < 1000


def test_a_stream_brings_pieces_then_ends(host: EngineHost, base_model: Path, tmp_path: Path) -> None:
    make_adapter(base_model, tmp_path / "icons", "icons", seed=1)
    requests = [_request(None), _request("nobody"), replace(_request("icons"), n=2, temperature=1.0, seed=3)]

    async def follow() -> tuple[dict[tuple[int, int], str], dict[int, Outcome]]:
        texts: dict[tuple[int, int], str] = {}
        ends: dict[int, Outcome] = {}
        async for news in host.stream(requests):
            for one in news:
                assert one.request not in ends
                if isinstance(one, Piece):
                    key = one.request, one.index
                    texts[key] = texts.get(key, "") + one.text
                else:
                    ends[one.request] = one.outcome
        return texts, ends

    texts, ends = asyncio.run(follow())
    whole = asyncio.run(host.generate(requests))
    assert isinstance(ends[1], ModelNotFound)
    assert [ends[0], ends[2]] == [whole[0], whole[2]]
    assert texts == {(0, 0): text(ends[0]), (2, 0): ends[2][0].text, (2, 1): ends[2][1].text}  # type: ignore[index]


def test_what_is_refused_comes_first(host: EngineHost) -> None:
    async def first() -> News:
        return await anext(host.stream([_request("nobody")]))

    [end] = asyncio.run(first())
    assert isinstance(end, End)
    assert isinstance(end.outcome, ModelNotFound)


def test_who_stops_listening_frees_the_place_at_the_next_step(host: EngineHost) -> None:
    engine = running(host)
    engine._scheduler._stop_ids = frozenset()

    async def leave() -> int:
        stream = host.stream([GenerationRequest(PROMPT, max_new_tokens=900)] * 2)
        while engine.load_now.rows < 2:
            await anext(stream)
        steps = engine.load_now.steps
        await stream.aclose()
        while engine.load_now.rows:
            await asyncio.sleep(0.001)
        return engine.load_now.steps - steps

    assert asyncio.run(asyncio.wait_for(leave(), 60)) < 100  # of 900: those that pass while this test looks


def test_an_adapter_has_the_name_it_was_loaded_by_until_it_is_unloaded(
    host: EngineHost, base_model: Path, tmp_path: Path
) -> None:
    folder = make_adapter(base_model, tmp_path / "runs" / "7", "icons", seed=1)
    host._catalog.register.load("mine", folder)
    assert asyncio.run(host.load("mine", folder)) is None
    assert list(running(host).adapters) == ["mine"]
    assert text(generate(host, "mine")[0]) != text(generate(host, None)[0])
    asyncio.run(host.unload("mine"))
    asyncio.run(host.unload("mine"))
    assert list(running(host).adapters) == []
    (folder / "adapter_model.safetensors").write_bytes(b"nothing")
    assert isinstance(asyncio.run(host.load("mine", folder)), AdapterError)
    assert isinstance(asyncio.run(host.load("mine", tmp_path / "gone")), ModelNotFound)


def test_what_cannot_be_loaded_is_not_read_again_until_it_changes(
    host: EngineHost, base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_adapter(base_model, tmp_path / "icons", "icons")
    config = tmp_path / "icons" / "adapter_config.json"
    good = config.read_text()
    config.write_text(good.replace("q_proj", "q_projection"))
    loads: list[str] = []
    load = running(host).load_adapter

    def counted(folder: str | Path, adapter_id: str | None = None) -> Any:
        loads.append(str(adapter_id))
        return load(folder, adapter_id)

    monkeypatch.setattr(running(host), "load_adapter", counted)
    outcomes = generate(host, "icons", "icons") + generate(host, "icons")
    assert [type(outcome) for outcome in outcomes] == [AdapterError] * 3
    assert loads == ["icons"]
    config.write_text(good)
    assert text(generate(host, "icons")[0])
    assert loads == ["icons"] * 2


def test_who_asks_for_a_loaded_adapter_waits_for_no_other(
    host: EngineHost, base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("icons", "slow"):
        make_adapter(base_model, tmp_path / name, name)
    expected = text(generate(host, "icons")[0])
    load, go_on = running(host).load_adapter, threading.Event()

    def slow(folder: str | Path, adapter_id: str | None = None) -> Any:
        assert go_on.wait(30)
        return load(folder, adapter_id)

    monkeypatch.setattr(running(host), "load_adapter", slow)

    async def ask() -> list[Outcome]:
        waiting = asyncio.create_task(host.generate([_request("slow")]))
        await asyncio.sleep(0.1)
        first = await host.generate([_request("icons")])
        assert not waiting.done()
        go_on.set()
        return first + await waiting

    first, second = asyncio.run(ask())
    assert text(first) == expected
    assert text(second)


def test_what_goes_wrong_with_unloading_is_a_value(
    host: EngineHost, base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_adapter(base_model, tmp_path / "icons", "icons")
    generate(host, "icons")

    def refuse(_: str) -> None:
        raise ServerRefused("no")

    monkeypatch.setattr(running(host), "unload_adapter", refuse)
    assert isinstance(asyncio.run(host.unload("icons")), ServerRefused)
    assert asyncio.run(host.unload("icons")) is None
