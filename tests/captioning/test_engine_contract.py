"""What holds for every engine: ours, and one whose model runs in a server, over real HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest

from captioning.caption_engine import Caption, CaptionEngine
from captioning.engine import Engine, GenerationRequest
from captioning.errors import AdapterError, ConfigError, EngineClosed, ModelNotFound, PromptTooLong
from captioning.openai_engine import OpenAIEngine, Server
from captioning.prompt import clean_caption, prompt_ids
from rendering import SvgRejected
from tests.captioning.completions_server import CompletionsServer, serving

FILE = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><circle cx="5" cy="5" r="3"/></svg>'
DRAWINGS = ("<svg/>", '<svg viewBox="0 0 9 9"><circle r="3"/></svg>', '<svg><path d="M0 0L9 9H4V2Z"/></svg>')


@dataclass
class Subject:
    """An engine, and the one that runs the model: itself, or the server's."""

    engine: CaptionEngine
    runs: Engine

    def requests(self, **changes: Any) -> list[GenerationRequest]:
        ids = [prompt_ids(self.engine.tokenizer, drawing) for drawing in DRAWINGS]
        requests = [GenerationRequest(prompt, name, 12) for prompt in ids for name in (None, "icons")]
        return [replace(request, **changes) for request in requests]


@pytest.fixture(scope="module")
def reference(llama: Path, icons: Path) -> Iterator[Engine]:
    engine = load(llama)
    engine.load_adapter(icons)
    yield engine
    engine.close()


def load(base: Path) -> Engine:
    return Engine.load(str(base), dtype="float32", device="cpu", max_batch_size=4)


@pytest.fixture(params=["ours", "server", "server, prompts as text"])
def subject(request: pytest.FixtureRequest, llama: Path, icons: Path) -> Iterator[Subject]:
    runs = load(llama)
    if request.param == "ours":
        runs.load_adapter(icons)
        yield Subject(runs, runs)
        runs.close()
        return
    with serving(CompletionsServer(runs)) as server:
        prompt_as: Literal["tokens", "text"] = "text" if "text" in request.param else "tokens"
        engine = OpenAIEngine.connect(
            str(llama), Server(server.url, loads_adapters=True, prompt_as=prompt_as, max_requests=4)
        )
        engine.load_adapter(icons)
        yield Subject(engine, runs)
        engine.close()
    runs.close()


def test_texts_are_those_of_our_engine(subject: Subject, reference: Engine) -> None:
    jobs = subject.requests()
    expected = reference.generate(jobs)
    assert subject.engine.generate(jobs) == expected
    load = subject.engine.load_now
    assert (load.started, load.finished, load.failed, load.waiting, load.rows) == (6, 6, 0, 0, 0)
    assert load.new_tokens == sum(text.completion_tokens for text in expected)
    assert load.first_token_s >= load.queue_s >= 0
    assert len({text.text for text in expected}) > 3
    cut = [replace(job, stop=(text.text[3:6],)) for job, text in zip(jobs, expected, strict=True)]
    assert [text.text for text in subject.engine.generate(cut)] == [
        clean_caption(text.text[: text.text.index(text.text[3:6])]) for text in expected
    ]


def test_samples_depend_on_their_seed_alone(subject: Subject, reference: Engine) -> None:
    [job] = subject.requests(n=3, temperature=1.5, seed=7)[1:2]
    texts = subject.engine.generate([job])
    assert texts == reference.generate([job])
    assert len({text.text for text in texts}) == 3


def test_pieces_make_the_text(subject: Subject) -> None:
    job = subject.requests(n=2, temperature=1.0, seed=3)[1]

    async def follow() -> None:
        ticket = subject.engine.submit(job, stream=True)
        pieces = [""] * 2
        count = 0
        async for delta in ticket:
            pieces[delta.index] += delta.text
            count += 1
        texts = await ticket
        assert pieces == [text.text for text in texts]
        assert count > 4
        assert ticket.submitted <= (ticket.started or 0) <= (ticket.first_token or 0)

    asyncio.run(follow())
    [whole] = subject.engine.generate([replace(job, n=1)])
    assert "".join(d.text for d in subject.engine.submit(replace(job, n=1), stream=True)) == whole.text


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_cancelled_frees_its_place(subject: Subject, stream: bool) -> None:
    subject.runs._scheduler._stop_ids = frozenset()
    job = subject.requests(max_new_tokens=800)[1]
    tickets = [subject.engine.submit(job, stream=stream) for _ in range(2)]
    until(lambda: subject.runs.load_now.rows == 2)
    tickets[0].cancel()
    until(lambda: subject.runs.load_now.rows == 1)
    with pytest.raises(CancelledError):
        tickets[0].result(1)
    assert not tickets[1].done
    if stream:
        for _ in tickets[1]:
            break
    tickets[1].cancel()
    until(lambda: subject.runs.load_now.rows == 0)


def test_what_cannot_be_asked(subject: Subject) -> None:
    job = subject.requests()[0]
    senseless: list[dict[str, Any]]
    senseless = [{"prompt_ids": []}, {"max_new_tokens": 0}, {"temperature": -1.0}, {"n": 5}, {"n": 0}]
    for changes in senseless:
        with pytest.raises(ConfigError, match="cannot generate"):
            subject.engine.submit(replace(job, **changes))
    with pytest.raises(PromptTooLong, match=r"1,020 prompt tokens and 12 new ones.*holds 1,024"):
        subject.engine.submit(replace(job, prompt_ids=[5] * 1020))
    with pytest.raises(ModelNotFound, match=r"No adapter 'logos'\. Available: icons\."):
        subject.engine.submit(replace(job, adapter="logos"))


def test_adapters_come_and_go(subject: Subject, icons: Path, gemma: Path, tmp_path: Path) -> None:
    jobs = subject.requests()[:2]
    before = subject.engine.generate(jobs)
    subject.engine.load_adapter(icons)
    assert subject.engine.generate(jobs) == before
    subject.engine.unload_adapter("icons")
    assert list(subject.engine.adapters) == []
    with pytest.raises(ModelNotFound, match="Available: none"):
        subject.engine.generate(jobs)
    with pytest.raises(ModelNotFound):
        subject.engine.unload_adapter("icons")
    assert subject.engine.generate(jobs[:1]) == before[:1]
    with pytest.raises(AdapterError):
        subject.engine.load_adapter(tmp_path)


def test_files_are_captioned_in_their_order(subject: Subject, reference: Engine) -> None:
    outcomes = subject.engine.caption([FILE, b"no svg", FILE], adapter="icons", max_new_tokens=8)
    assert isinstance(outcomes[0], Caption)
    assert isinstance(outcomes[1], SvgRejected)
    [expected] = reference.caption([FILE], adapter="icons", max_new_tokens=8)
    assert isinstance(expected, Caption)
    assert outcomes[0].text == expected.text


def test_a_closed_engine_answers_no_more(subject: Subject) -> None:
    subject.runs._scheduler._stop_ids = frozenset()
    tickets = [subject.engine.submit(job) for job in subject.requests(max_new_tokens=800)]
    until(lambda: subject.runs.load_now.rows > 0)
    subject.engine.close()
    for ticket in tickets:
        with pytest.raises(EngineClosed):
            ticket.result(1)
    with pytest.raises(EngineClosed):
        subject.engine.submit(subject.requests()[0])
    subject.engine.close()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)
