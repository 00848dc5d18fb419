"""The engine's thread: who gets a row, when prompts are read, and token after token for all rows.

Each turn takes in what waits and fits, the oldest first and prompts of like length together, then writes
one token to every row. An error costs only those whom it strikes: what failed together is tried again one
by one. Knows token ids and how to decode them; neither adapter ids, nor prompts, nor the model.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch
from torch import Tensor

from captioning.errors import EngineClosed, NotANumber
from captioning.generation import Delta, FinishReason, Generation
from captioning.load import Load
from captioning.prompt import clean_caption
from captioning.rows import Prompt, Rows
from captioning.sampling import NOT_A_NUMBER, choose
from captioning.text_stream import TextStream
from captioning.ticket import Ticket

Decode = Callable[[Sequence[int]], str]
Result = TypeVar("Result")

_LIKE = 1.25  # prompts are read together if the longest is at most this many times the shortest

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Job:
    """A request that waits or is being written."""

    ticket: Ticket
    prompt: Prompt
    start: int  # from here on its prompt is read
    texts: dict[int, Generation] = field(default_factory=dict)  # those that have ended

    @property
    def rows(self) -> int:
        return self.ticket.request.n

    @property
    def tokens(self) -> int:
        """To read."""
        return len(self.prompt.ids) - self.start


@dataclass(eq=False)
class _Text:
    """One text of a request. Its place among the texts is the number of its row."""

    job: _Job
    index: int
    random: random.Random
    stream: TextStream | None  # where its words are of interest before its end
    written: list[int] = field(default_factory=list)


class Scheduler:
    def __init__(
        self,
        rows: Rows,
        decode: Decode,
        *,
        stop_ids: frozenset[int],
        max_rows: int,
        prompt_tokens_a_turn: int = 2048,  # read at most, lest those that are writing wait too long
    ) -> None:
        self._rows = rows
        self._decode = decode
        self._stop_ids = stop_ids
        self._prompt_tokens_a_turn = prompt_tokens_a_turn
        self._load = Load(max_rows=max_rows)
        self._texts: list[_Text] = []
        self._thread: threading.Thread | None = None
        self._news = threading.Condition()  # guards what follows
        self._waiting: deque[_Job] = deque()
        self._calls: deque[Callable[[], None]] = deque()
        self._closed = False

    def submit(self, ticket: Ticket, prompt: Prompt) -> None:
        """Queue a request that fits into the rows when they are empty; returns at once.

        Raises:
            EngineClosed: there will be no answers any more.
        """
        with self._news:
            self._wake()
            self._waiting.append(_Job(ticket, prompt, self._rows.start(prompt)))

    def between_turns(self, call: Callable[[], Result]) -> Result:
        """Have the thread do something while the model is at rest; returns what that returns."""
        future: Future[Result] = Future()

        def run() -> None:
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001 - it is the caller's
                future.set_exception(error)

        with self._news:
            self._wake()
            self._calls.append(run)
        return future.result()

    @property
    def load(self) -> Load:
        with self._news:
            return replace(self._load, waiting=len(self._waiting), rows=len(self._texts))

    def close(self) -> None:
        """Fail what has not ended with EngineClosed, and wait for the end of the thread."""
        with self._news:
            self._closed = True
            self._news.notify()
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join()

    def _wake(self) -> None:
        if self._closed:
            raise EngineClosed("the engine has been closed")
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="caption-engine", daemon=True)
            self._thread.start()
        self._news.notify()

    @torch.inference_mode()
    def _run(self) -> None:
        error: Exception = EngineClosed("the engine was closed before the request was answered")
        try:
            while self._turn_comes():
                try:
                    self._turn()
                except Exception as problem:  # noqa: BLE001 - every ticket at work gets it
                    _log.exception("the engine failed, and with it %d texts", len(self._texts))
                    self._fail_all(problem)
        except BaseException as problem:  # not even the rows can be dropped: nothing will work any more
            error = EngineClosed(f"the engine broke down: {type(problem).__name__}: {problem}")
            raise
        finally:
            self._abandon(error)

    def _turn_comes(self) -> bool:
        """Wait for work, make what calls there are; False at the end of all."""
        with self._news:
            self._news.wait_for(lambda: self._closed or self._calls or self._waiting or self._texts)
            calls, self._calls = self._calls, deque()
            closed = self._closed
            self._waiting = deque(job for job in self._waiting if not job.ticket.done)
        for call in calls:
            call()
        return not closed

    def _turn(self) -> None:
        for row in reversed(range(len(self._texts))):
            if self._texts[row].job.ticket.done:  # cancelled, or failed with another text of its request
                self._drop(row)
        left = self._prompt_tokens_a_turn
        while left > 0 and (group := self._next_group(left)):
            left -= len(group) * max(job.tokens for job in group)
            self._read(group)
        if self._texts:
            self._load.steps += 1
            self._load.step_rows += len(self._texts)
            self._hear(0, self._next_tokens(0, len(self._texts)))

    def _next_group(self, budget: int) -> list[_Job]:
        """The oldest request that waits, and those with prompts like its own; none if it does not fit."""
        group: list[_Job] = []
        with self._news:
            for job in self._waiting:
                if self._joins(job, group, budget):
                    group.append(job)
                elif not group:
                    break
            self._waiting = deque(job for job in self._waiting if job not in group)
        return group

    def _joins(self, job: _Job, group: Sequence[_Job], budget: int) -> bool:
        together = [*group, job]
        if not self._rows.fits(sum(one.rows for one in together), max(one.prompt.room for one in together)):
            return False
        longest = max(one.tokens for one in together)
        shortest = min(one.tokens for one in together)
        alike = longest <= _LIKE * shortest and job.start == together[0].start
        return not group or (alike and longest * len(together) <= budget)

    def _read(self, group: Sequence[_Job]) -> None:
        """Read prompts into new rows and write the first token after each."""
        now = time.monotonic()
        for job in group:
            job.ticket.started = job.ticket.started or now
        group = sorted(group, key=lambda job: id(job.prompt.lora))  # rows of one adapter are next to another
        try:
            logits = self._rows.add([job.prompt for job in group])  # (G, V)
        except Exception as error:  # noqa: BLE001 - the culprit's ticket gets it
            if len(group) == 1:
                self._count_start(group[0])
                self._fail(group[0], error)
            else:
                for job in group:
                    self._read([job])
            return
        first = len(self._texts)
        self._texts += [self._text(job, 0) for job in group]
        sources = list(range(len(group)))
        for place, job in enumerate(group):
            self._count_start(job)
            for index in range(1, job.rows):
                self._rows.copy(first + place)
                self._texts.append(self._text(job, index))
                sources.append(place)
        self._hear(first, self._chosen(self._texts[first:], logits[sources]))

    def _next_tokens(self, start: int, end: int) -> list[int | Exception]:
        texts = self._texts[start:end]
        try:
            logits = self._rows.write([text.written[-1] for text in texts], start, end)
        except Exception as error:  # noqa: BLE001 - the culprit's ticket gets it
            if len(texts) == 1:
                return [error]
            return [token for row in range(start, end) for token in self._next_tokens(row, row + 1)]
        return self._chosen(texts, logits)

    def _chosen(self, texts: Sequence[_Text], logits: Tensor) -> list[int | Exception]:
        temperatures = [text.job.ticket.request.temperature for text in texts]
        draws = [text.random.random() for text in texts]
        problem = NotANumber(
            "the model's numbers are not finite here: is the adapter or the base model damaged?"
        )
        tokens = choose(logits, temperatures, draws)
        return [problem if token == NOT_A_NUMBER else token for token in tokens]

    def _hear(self, first: int, tokens: Sequence[int | Exception]) -> None:
        """Take in the new token of each row from `first` on, the last first: a row that ends is dropped."""
        for row, token in reversed(list(enumerate(tokens, start=first))):
            text = self._texts[row]
            if isinstance(token, Exception):
                self._fail(text.job, token)
                self._drop(row, spoilt=True)
            elif reason := self._heard(text, token):
                self._end(text, reason)
                self._drop(row)

    def _heard(self, text: _Text, token: int) -> FinishReason | None:
        """Append a token; returns why the text has ended with it, if it has."""
        ticket, stream = text.job.ticket, text.stream
        if not text.written and text.index == 0:
            ticket.first_token = time.monotonic()
            self._load.first_token_s += ticket.first_token - ticket.submitted
        text.written.append(token)
        self._load.new_tokens += 1
        if stream:
            stream.push(text.written)
        if token in self._stop_ids or (stream and stream.stopped):
            return "stop"
        if len(text.written) >= ticket.request.max_new_tokens:
            return "length"
        if stream and ticket.stream and (piece := stream.piece()):
            ticket.put(Delta(text.index, piece))
        return None

    def _end(self, text: _Text, reason: FinishReason) -> None:
        job, ticket, stream = text.job, text.job.ticket, text.stream
        if stream and ticket.stream and (piece := stream.piece(last=True)):
            ticket.put(Delta(text.index, piece))
        words = stream.text if stream else clean_caption(self._decode(text.written))
        job.texts[text.index] = Generation(words, reason, len(job.prompt.ids), len(text.written))
        if len(job.texts) == job.rows:
            self._load.finished += ticket.finish([job.texts[index] for index in range(job.rows)])

    def _text(self, job: _Job, index: int) -> _Text:
        request = job.ticket.request
        stream = TextStream(self._decode, request.stop) if job.ticket.stream or request.stop else None
        seed = None if request.seed is None else request.seed + index
        return _Text(job, index, random.Random(seed), stream)

    def _count_start(self, job: _Job) -> None:
        self._load.started += 1
        self._load.prompt_tokens += job.tokens
        self._load.prefix_tokens += job.start
        self._load.queue_s += (job.ticket.started or 0) - job.ticket.submitted

    def _fail(self, job: _Job, error: BaseException) -> None:
        self._load.failed += job.ticket.finish(error)

    def _drop(self, row: int, *, spoilt: bool = False) -> None:
        self._rows.drop(row, spoilt=spoilt)
        self._texts[row] = self._texts[-1]
        self._texts.pop()

    def _fail_all(self, error: Exception) -> None:
        for text in self._texts:
            self._fail(text.job, error)
        self._texts.clear()
        while len(self._rows):
            self._rows.drop(len(self._rows) - 1, spoilt=True)

    def _abandon(self, error: Exception) -> None:
        with self._news:
            self._closed = True
            jobs = [*self._waiting, *(text.job for text in self._texts)]
            self._waiting.clear()
            calls, self._calls = self._calls, deque()
        for job in jobs:
            self._fail(job, error)
        for call in calls:
            call()
