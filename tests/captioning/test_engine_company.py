"""Requests that come and go while others are being written: each gets what it would have got alone."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from captioning.engine import Engine, GenerationRequest, Ticket
from captioning.errors import (
    AdapterError,
    AdapterMemoryFull,
    CacheLost,
    ConfigError,
    EngineClosed,
    ModelNotFound,
    NotANumber,
    PromptTooLong,
)
from captioning.prompt import clean_caption, prompt_ids
from tests.captioning.helpers import make_adapter, plain_texts

ADAPTERS: dict[str, dict[str, Any]] = {
    "a": {"r": 4, "modules": ["q_proj", "v_proj"]},
    "b": {"r": 2, "modules": ["v_proj", "up_proj"]},
    "c": {"r": 40, "modules": ["q_proj", "k_proj", "o_proj", "down_proj"]},
    "d": {"r": 1, "modules": ["gate_proj", "k_proj"]},
}
DRAWINGS = ("<svg/>", '<svg viewBox="0 0 9 9"><circle r="3"/></svg>', '<svg><path d="M0 0L9 9H4V2Z"/></svg>')


@pytest.fixture(scope="module")
def folders(llama: Path, gemma: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Path]]:
    return {
        base.name: {
            name: make_adapter(base, tmp_path_factory.mktemp(name), name, seed=seed, **settings)
            for seed, (name, settings) in enumerate(ADAPTERS.items())
        }
        for base in (llama, gemma)
    }


def load(base: Path, folders: dict[str, dict[str, Path]], **options: Any) -> Engine:
    engine = Engine.load(str(base), dtype="float32", device="cpu", **{"max_batch_size": 4} | options)
    for folder in folders[base.name].values():
        engine.load_adapter(folder)
    return engine


@pytest.fixture
def engine(llama: Path, folders: dict[str, dict[str, Path]]) -> Iterator[Engine]:
    engine = load(llama, folders)
    yield engine
    engine.close()


@pytest.fixture
def endless(engine: Engine) -> Engine:
    """No token ends a text."""
    engine._scheduler._stop_ids = frozenset()
    return engine


def requests_of(engine: Engine) -> list[GenerationRequest]:
    prompts = [prompt_ids(engine.tokenizer, drawing) for drawing in DRAWINGS]
    return [
        GenerationRequest(prompt, adapter, max_new_tokens=5 + 4 * number)
        for number, prompt in enumerate(prompts)
        for adapter in (None, *ADAPTERS)
    ]


@pytest.mark.parametrize("family", ["llama", "gemma"])
def test_whoever_comes_while_others_are_written_gets_what_peft_writes(
    family: str, folders: dict[str, dict[str, Path]], request: pytest.FixtureRequest
) -> None:
    base: Path = request.getfixturevalue(family)
    engine = load(base, folders)
    jobs = requests_of(engine)
    tickets = []
    for number, job in enumerate(jobs):
        tickets.append(engine.submit(job))
        while number % 4 == 3 and not engine.load_now.rows and not tickets[-1].done:
            time.sleep(0.001)
    texts = [ticket.result(60)[0].text for ticket in tickets]
    assert texts == plain_texts(base, folders[base.name], jobs)
    assert len(set(texts)) > len(jobs) // 2
    assert engine.load_now.step_rows > 1.5 * engine.load_now.steps


def test_pieces_come_as_they_are_written_and_make_the_text(engine: Engine) -> None:
    job = replace(requests_of(engine)[1], max_new_tokens=30, n=2, temperature=1.0, seed=3)
    texts = engine.generate([job])
    assert texts[0] != texts[1]

    async def follow() -> tuple[list[str], list[Any]]:
        ticket = engine.submit(job, stream=True)
        pieces = ["", ""]
        count = 0
        async for delta in ticket:
            pieces[delta.index] += delta.text
            count += 1
        assert count > 4
        return pieces, await ticket

    assert asyncio.run(follow()) == ([text.text for text in texts], texts)
    pieces = [delta.text for delta in engine.submit(replace(job, n=1), stream=True)]
    assert "".join(pieces) == texts[0].text


def test_several_texts_read_their_prompt_once(engine: Engine) -> None:
    job = replace(requests_of(engine)[2], n=3, temperature=1.2, seed=5)
    together = engine.generate([job])
    read = engine.load_now.prompt_tokens + engine.load_now.prefix_tokens
    assert read == len(job.prompt_ids)
    assert together == engine.generate([replace(job, n=1, seed=seed) for seed in (5, 6, 7)])
    assert len({text.text for text in together}) == 3


def test_the_instruction_is_read_once_for_each_adapter(engine: Engine) -> None:
    jobs = [replace(job, max_new_tokens=1) for job in requests_of(engine)]
    engine.generate(jobs[:5])
    first = engine.load_now
    assert first.prefix_tokens > 5 * 40
    engine.generate(jobs)
    assert set(engine._rows._prefixes) >= {engine._rows}  # type: ignore[attr-defined]
    assert len(engine._rows._prefixes) == 5  # type: ignore[attr-defined]
    engine.unload_adapter("a")
    gc.collect()
    assert len(engine._rows._prefixes) == 4  # type: ignore[attr-defined]


def test_a_text_ends_before_a_stop_string(engine: Engine) -> None:
    job = replace(requests_of(engine)[0], max_new_tokens=20)
    [whole] = engine.generate([job])
    stop = whole.text[len(whole.text) // 2 :][:3].strip()
    [cut] = engine.generate([replace(job, stop=(stop, "never seen"))])
    assert cut.text == clean_caption(whole.text[: whole.text.index(stop)])
    assert cut.finish_reason == "stop"
    assert cut.completion_tokens < whole.completion_tokens
    pieces = [delta.text for delta in engine.submit(replace(job, stop=(stop,)), stream=True)]
    assert "".join(pieces) == cut.text


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def long(engine: Engine, adapter: str | None = None) -> GenerationRequest:
    return GenerationRequest(prompt_ids(engine.tokenizer, DRAWINGS[0]), adapter, max_new_tokens=700)


def test_what_is_cancelled_makes_room_at_the_next_step(endless: Engine) -> None:
    running = [endless.submit(long(endless)) for _ in range(4)]
    until(lambda: endless.load_now.rows == 4)
    waiting = endless.submit(long(endless))
    until(lambda: endless.load_now.waiting == 1)
    running[1].cancel()
    steps = endless.load_now.steps
    until(lambda: waiting.started is not None)
    assert endless.load_now.steps - steps <= 3  # the one in work, and what passes while this test looks
    with pytest.raises(CancelledError):
        running[1].result()
    for ticket in (*running, waiting):
        ticket.cancel()
    until(lambda: endless.load_now.rows == 0)


def test_who_waits_may_leave_the_queue(endless: Engine) -> None:
    running = [endless.submit(long(endless)) for _ in range(4)]
    waiting = endless.submit(long(endless))
    waiting.cancel()
    until(lambda: endless.load_now.waiting == 0)
    assert waiting.started is None
    assert not any(ticket.done for ticket in running)


def test_who_stops_listening_cancels(endless: Engine) -> None:
    ticket = endless.submit(replace(long(endless)), stream=True)
    for _ in ticket:
        break
    assert ticket.done

    async def listen() -> Ticket:
        ticket = endless.submit(long(endless), stream=True)
        pieces = aiter(ticket)
        await anext(pieces)
        await pieces.aclose()  # type: ignore[attr-defined]
        return ticket

    assert asyncio.run(listen()).done
    until(lambda: endless.load_now.rows == 0)


def fail_on(engine: Engine, poison: int) -> Any:
    def check(_: object, args: tuple[torch.Tensor, ...]) -> None:
        if poison in args[0]:
            raise MemoryError("out of memory")

    model: Any = engine._model
    return model.model.embed_tokens.register_forward_pre_hook(check)


def test_a_prompt_that_breaks_the_model_fails_alone(engine: Engine) -> None:
    jobs = [replace(job, max_new_tokens=9) for job in requests_of(engine)[:5]]
    expected = engine.generate(jobs)
    token = int(engine.tokenizer.pad_token_id or 0)
    poison = replace(jobs[2], prompt_ids=[*jobs[2].prompt_ids[:-1], token])
    fail_on(engine, token)
    tickets = [engine.submit(job) for job in (jobs[0], poison, *jobs[1:])]
    with pytest.raises(MemoryError):
        tickets.pop(1).result(30)
    assert [ticket.result(30)[0] for ticket in tickets] == expected
    assert engine.load_now.failed == 1


def tokens_of(engine: Engine, request: GenerationRequest) -> list[int]:
    """What is written and read again, all but the last token."""
    model: Any = engine._model
    seen: list[int] = []
    hook = model.model.embed_tokens.register_forward_pre_hook(
        lambda _, args: seen.extend(args[0].flatten().tolist() if args[0].shape[1] == 1 else [])
    )
    engine.generate([request])
    hook.remove()
    return seen


def test_a_token_that_breaks_the_model_fails_its_text_alone(engine: Engine) -> None:
    jobs = requests_of(engine)[:5]
    tokens = {job.adapter: tokens_of(engine, replace(job, max_new_tokens=4)) for job in jobs}
    poison, victim = next(
        (token, name)
        for name, own in tokens.items()
        for token in own
        if sum(token in some for some in tokens.values()) == 1
    )
    others = [replace(job, max_new_tokens=4) for job in jobs if job.adapter != victim]
    expected = engine.generate(others)
    fail_on(engine, poison)
    struck = engine.submit(next(replace(job, max_new_tokens=9) for job in jobs if job.adapter == victim))
    assert engine.generate(others) == expected
    with pytest.raises(MemoryError):
        struck.result(30)


def test_an_adapter_of_broken_numbers_fails_alone(
    engine: Engine, folders: dict[str, dict[str, Path]], tmp_path: Path
) -> None:
    jobs = requests_of(engine)[:4]
    expected = engine.generate(jobs)
    folder = make_adapter(Path(engine.spec.source), tmp_path / "bad", "bad")
    file = folder / "adapter_model.safetensors"
    save_file({name: tensor * 1e30 for name, tensor in load_file(file).items()}, file)
    engine.load_adapter(folder)
    for _ in range(3):
        bad = engine.submit(replace(jobs[0], adapter="bad"))
        assert engine.generate(jobs) == expected
        with pytest.raises(NotANumber, match="not finite"):
            bad.result(30)


def test_adapters_come_and_go_while_others_write(endless: Engine, llama: Path, tmp_path: Path) -> None:
    job = replace(long(endless, "a"), max_new_tokens=60)
    expected = endless.generate([job])
    ticket = endless.submit(job)
    until(lambda: endless.load_now.rows == 1)
    endless.load_adapter(make_adapter(llama, tmp_path / "new", "new", seed=9))
    [new] = endless.generate([replace(job, adapter="new", max_new_tokens=6)])
    endless.unload_adapter("a")
    with pytest.raises(ModelNotFound):
        endless.submit(job)
    assert ticket.result(30) == expected
    assert new.text != expected[0].text


def test_the_adapter_that_was_not_used_for_longest_makes_room(
    endless: Engine, folders: dict[str, dict[str, Path]], llama: Path, tmp_path: Path
) -> None:
    endless._shelf._max_bytes = endless.load_now.adapter_bytes
    endless.generate([replace(long(endless, "a"), max_new_tokens=1)])
    ticket = endless.submit(long(endless, "b"))
    loads = endless.load_now.adapter_loads
    endless.load_adapter(make_adapter(llama, tmp_path / "e", "e", **ADAPTERS["b"]))
    assert list(endless.adapters) == ["d", "a", "b", "e"]
    assert (endless.load_now.adapter_loads, endless.load_now.adapter_evictions) == (loads + 1, 1)
    endless._shelf._max_bytes = 174_080  # what it needs, alone
    with pytest.raises(AdapterMemoryFull, match="and adapters in use hold"):
        endless.load_adapter(folders["tiny-llama"]["c"])
    endless._shelf._max_bytes = 1
    with pytest.raises(AdapterError, match=r"the budget is 1\. Raise the budget"):
        endless.load_adapter(folders["tiny-llama"]["c"])
    assert sorted(endless.adapters) == ["a", "b", "d", "e"]
    ticket.cancel()


@pytest.mark.parametrize("changes", [{"n": 0}, {"n": 5}, {"stop": ("",)}])
def test_more_that_makes_no_sense(engine: Engine, changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="cannot generate"):
        engine.submit(replace(requests_of(engine)[0], **changes))


def test_what_the_cache_cannot_hold_is_refused(llama: Path, folders: dict[str, dict[str, Path]]) -> None:
    engine = load(llama, folders, cache_tokens=512)
    engine.generate([GenerationRequest([5] * 500, max_new_tokens=12)])
    with pytest.raises(PromptTooLong, match="holds 512"):
        engine.submit(GenerationRequest([5] * 500, max_new_tokens=13))
    with pytest.raises(PromptTooLong, match="no room for 3 such texts"):
        engine.submit(GenerationRequest([5] * 200, max_new_tokens=12, n=3))
    answers = engine.generate([GenerationRequest([5, 6 + n] * 100, max_new_tokens=9) for n in range(4)])
    assert len(answers) == 4


def test_a_closed_engine_answers_no_more(endless: Engine) -> None:
    tickets = [endless.submit(long(endless)) for _ in range(6)]
    until(lambda: endless.load_now.rows == 4)
    assert not endless.closed
    endless.close()
    assert endless.closed
    for ticket in tickets:
        with pytest.raises(EngineClosed):
            ticket.result(1)
    with pytest.raises(EngineClosed):
        endless.submit(long(endless))
    assert not any(thread.name == "caption-engine" for thread in threading.enumerate() if thread.is_alive())
    endless.close()


def test_an_engine_that_nobody_holds_ends_its_thread(llama: Path) -> None:
    engine = Engine.load(str(llama), device="cpu")
    engine.generate([GenerationRequest([5, 6], max_new_tokens=1)])
    thread = engine._scheduler._thread
    assert thread is not None
    del engine
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


def test_an_error_of_the_engine_itself_is_no_end(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    job = requests_of(engine)[0]
    expected = engine.generate([job])
    with monkeypatch.context() as patch:
        patch.setattr("captioning.scheduler.choose", None)
        with pytest.raises(TypeError):
            engine.generate([job])
    assert engine.generate([job]) == expected
    assert engine.load_now.failed == 1


@pytest.mark.parametrize("error", [torch.AcceleratorError("CUDA error"), RuntimeError("a bug")])
def test_an_engine_whose_passes_all_fail_ends(engine: Engine, error: Exception) -> None:
    """Else it would answer every request at once with an error, and draw more of them than its peers."""
    job = requests_of(engine)[0]
    engine.generate([job])

    def fail(*_: object) -> None:
        raise error

    model: Any = engine._model
    model.register_forward_pre_hook(fail)
    with pytest.raises(type(error)):
        engine.generate([job])
    for _ in range(20):
        if engine.closed:
            break
        with pytest.raises((type(error), EngineClosed)):
            engine.generate([job])
    until(lambda: engine.closed)
    with pytest.raises(EngineClosed):
        engine.submit(job)


def test_an_engine_outlives_what_is_too_large_for_it(engine: Engine) -> None:
    job = requests_of(engine)[0]
    expected = engine.generate([job])
    token = int(engine.tokenizer.pad_token_id or 0)
    hook = fail_on(engine, token)
    for _ in range(20):
        with pytest.raises(MemoryError):
            engine.generate([replace(job, prompt_ids=[*job.prompt_ids[:-1], token])])
    hook.remove()
    assert engine.generate([job]) == expected


def test_a_cache_that_cannot_grow_costs_who_is_in_it_and_nobody_else(
    endless: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    [expected] = endless.generate([replace(long(endless), max_new_tokens=5)])
    ticket = endless.submit(long(endless))
    until(lambda: endless.load_now.rows == 1)
    made = 0

    def fail_at_the_second(self: Any, like: torch.Tensor) -> torch.Tensor:
        nonlocal made
        made += 1
        if made == 2:  # the keys of the second layer
            raise torch.OutOfMemoryError("no memory")
        return like.new_zeros(self.slots, like.shape[1], self.tokens, like.shape[3])

    with monkeypatch.context() as patch:
        patch.setattr("captioning.slots._SlotCache._empty", fail_at_the_second)
        with pytest.raises(CacheLost):
            endless.submit(long(endless)).result(30)
    with pytest.raises(CacheLost):
        ticket.result(30)
    assert endless.generate([replace(long(endless), max_new_tokens=5)]) == [expected]
    assert not endless.closed
