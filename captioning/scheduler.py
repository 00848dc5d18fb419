"""The engine's thread: who gets a row, when prompts are read, and token after token for all rows.

Each turn takes in what waits and fits, the oldest first and prompts of like length together, then writes
one token to every row. An error costs only those whom it strikes: what failed together is tried again one
by one. Knows token ids and how to decode them; neither adapter ids, nor prompts, nor the model.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from captioning.errors import CacheLost, EngineClosed, NotANumber
from captioning.jobs import Decode, Job, Text
from captioning.load import Load
from captioning.rows import Prompt, Rows
from captioning.sampling import NOT_A_NUMBER, choose
from captioning.ticket import Ticket

Result = TypeVar("Result")

_MOST_FAILURES = 16  # passes of the model in a row: then it is broken, not a request of its
_LIKE = 1.25  # prompts are read together if the longest is at most this many times the shortest

_log = logging.getLogger(__name__)


class Scheduler:
    def __init__(
        self,
        rows: Rows,
        decode: Decode,
        *,
        stop_ids: frozenset[int],
        suppressed_ids: Sequence[int] = (),
        max_rows: int,
        prompt_tokens_a_turn: int = 2048,  # read at most, lest those that are writing wait too long
    ) -> None:
        self._rows = rows
        self._decode = decode
        self._stop_ids = stop_ids
        self._suppressed_ids = suppressed_ids
        self._prompt_tokens_a_turn = prompt_tokens_a_turn
        self._load = Load(max_rows=max_rows)
        self._texts: list[Text] = []
        self._failures = 0  # passes since the last that did not fail
        self._broken: Exception | None = None
        self._thread: threading.Thread | None = None
        self._news = threading.Condition()  # guards what follows
        self._waiting: deque[Job] = deque()
        self._calls: deque[Callable[[], None]] = deque()
        self._closed = False

    def submit(self, ticket: Ticket, prompt: Prompt) -> None:
        """Queue a request that fits into the rows when they are empty; returns at once.

        Raises:
            EngineClosed: there will be no answers any more.
        """
        with self._news:
            self._wake()
            self._waiting.append(Job(ticket, prompt, self._rows.start(prompt)))

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

    @property
    def closed(self) -> bool:
        return self._closed

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
                if self._broken:
                    _log.error(
                        "no pass of the model succeeds any more: the engine ends", exc_info=self._broken
                    )
                    error = _broke_down(self._broken)
                    break
        except BaseException as problem:  # not even the rows can be dropped: nothing will work any more
            error = _broke_down(problem)
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

    def _next_group(self, budget: int) -> list[Job]:
        """The oldest request that waits, and those with prompts like its own; none if it does not fit."""
        group: list[Job] = []
        with self._news:
            for job in self._waiting:
                if self._joins(job, group, budget):
                    group.append(job)
                elif not group:
                    break
            self._waiting = deque(job for job in self._waiting if job not in group)
        return group

    def _joins(self, job: Job, group: Sequence[Job], budget: int) -> bool:
        together = [*group, job]
        if not self._rows.fits(sum(one.rows for one in together), max(one.prompt.room for one in together)):
            return False
        longest = max(one.tokens for one in together)
        shortest = min(one.tokens for one in together)
        alike = longest <= _LIKE * shortest and job.start == together[0].start
        return not group or (alike and longest * len(together) <= budget)

    def _read(self, group: Sequence[Job]) -> None:
        """Read prompts into new rows and write the first token after each."""
        now = time.monotonic()
        for job in group:
            job.ticket.started = job.ticket.started or now
        group = sorted(group, key=lambda job: id(job.prompt.lora))  # rows of one adapter are next to another
        try:
            logits = self._rows.add([job.prompt for job in group])  # (G, V)
        except CacheLost as error:  # of all rows
            for job in group:
                self._fail(job, error)
            raise
        except Exception as error:  # noqa: BLE001 - the culprit's ticket gets it
            if len(group) == 1:
                self._count_start(group[0])
                self._fail(group[0], error)
                self._count_failure(error)
            else:
                for job in group:
                    self._read([job])
            return
        self._failures = 0
        first = len(self._texts)
        self._texts += [Text(job, 0, self._decode) for job in group]
        sources = list(range(len(group)))
        for place, job in enumerate(group):
            self._count_start(job)
            for index in range(1, job.rows):
                self._rows.copy(first + place)
                self._texts.append(Text(job, index, self._decode))
                sources.append(place)
        self._hear(first, self._chosen(self._texts[first:], logits[sources]))
        for job in group:
            self._load.first_token_s += (job.ticket.first_token or now) - job.ticket.submitted

    def _next_tokens(self, start: int, end: int) -> list[int | Exception]:
        texts = self._texts[start:end]
        try:
            logits = self._rows.write([text.written[-1] for text in texts], start, end)
        except Exception as error:  # noqa: BLE001 - the culprit's ticket gets it
            if len(texts) == 1:
                self._count_failure(error)
                return [error]
            return [token for row in range(start, end) for token in self._next_tokens(row, row + 1)]
        self._failures = 0
        return self._chosen(texts, logits)

    def _count_failure(self, error: Exception) -> None:
        """After an error of the device nothing works any more; requests that are too large may come often."""
        self._failures += not isinstance(error, MemoryError | torch.OutOfMemoryError)
        if self._failures >= _MOST_FAILURES or isinstance(error, torch.AcceleratorError):
            self._broken = error

    def _chosen(self, texts: Sequence[Text], logits: Tensor) -> list[int | Exception]:
        problem = NotANumber(
            "the model's numbers are not finite here: is the adapter or the base model damaged?"
        )
        tokens = choose(
            logits,
            [text.temperature for text in texts],
            [text.draw() for text in texts],
            self._suppressed_ids,
            [(row, token) for row, text in enumerate(texts) for token in text.not_next],
        )
        return [problem if token == NOT_A_NUMBER else token for token in tokens]

    def _hear(self, first: int, tokens: Sequence[int | Exception]) -> None:
        """Take in the new token of each row from `first` on, the last first: a row that ends is dropped."""
        for row, token in reversed(list(enumerate(tokens, start=first))):
            text = self._texts[row]
            try:
                if isinstance(token, Exception):
                    raise token
                ended = text.hear(token, self._stop_ids)
            except Exception as error:  # noqa: BLE001 - its ticket gets it
                self._fail(text.job, error)
                self._drop(row, spoilt=True)
                continue
            self._load.new_tokens += 1
            if ended:
                self._drop(row)
                self._load.finished += text.job.end(text.index, ended)

    def _count_start(self, job: Job) -> None:
        self._load.started += 1
        self._load.prompt_tokens += job.tokens
        self._load.prefix_tokens += job.start
        self._load.queue_s += (job.ticket.started or 0) - job.ticket.submitted

    def _fail(self, job: Job, error: BaseException) -> None:
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


def _broke_down(problem: BaseException) -> EngineClosed:
    return EngineClosed(f"the engine broke down: {type(problem).__name__}: {problem}")
