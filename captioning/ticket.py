"""What the caller of `Engine.submit` holds: wait for the result, follow the texts, or cancel.

Results and pieces come from the engine's thread; a ticket may be used from any other thread, and from
any event loop.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import Future, InvalidStateError

from captioning.generation import Delta, Generation, GenerationRequest

Outcome = list[Generation]


class Ticket:
    """A request under way.

    Iterate over it once, with `for` or `async for`, to get the pieces of its texts; who leaves the loop
    before its end cancels the request. `await ticket` and `ticket.result()` give the whole texts.
    """

    def __init__(self, request: GenerationRequest, *, stream: bool) -> None:
        self.request = request
        self.stream = stream
        self.submitted = time.monotonic()  # all times in seconds of this clock
        self.started: float | None = None  # when its prompt's turn came
        self.first_token: float | None = None  # when the first token of its first text was written
        self._future: Future[Outcome] = Future()
        self._deltas: deque[Delta] = deque()
        self._wake: Callable[[], object] = lambda: None

    def result(self, timeout_s: float | None = None) -> Outcome:
        """The request's texts, `n` of them.

        Raises:
            TimeoutError: not yet; the request goes on.
            CancelledError: the request was cancelled (concurrent.futures' own).
            SvgCaptionError: the request has failed.
        """
        return self._future.result(timeout_s)

    def cancel(self) -> None:
        """Give the place up; it is free at the engine's next step. Does nothing to what has ended."""
        self._future.cancel()
        self._notify()

    @property
    def done(self) -> bool:
        """Whether the request has ended: with a result, an error, or cancelled."""
        return self._future.done()

    @property
    def failed(self) -> bool:
        """Whether it has ended, and not with a result."""
        return self.done and (self._future.cancelled() or self._future.exception() is not None)

    def when_done(self, call: Callable[[], object]) -> None:
        """Have something called at the end, whatever it is, on the thread that brings it about."""
        self._future.add_done_callback(lambda _: call())

    def __await__(self) -> Generator[object, None, Outcome]:
        return asyncio.wrap_future(self._future).__await__()  # cancelled with the task that awaits it

    def __iter__(self) -> Iterator[Delta]:
        there = threading.Event()
        self._wake = there.set
        try:
            while True:
                there.clear()
                ended = self.done
                yield from self._arrived()
                if ended:
                    break
                there.wait()
        finally:
            self.cancel()
        self.result()

    async def __aiter__(self) -> AsyncIterator[Delta]:
        there, loop = asyncio.Event(), asyncio.get_running_loop()
        self._wake = lambda: loop.call_soon_threadsafe(there.set)
        try:
            while True:
                there.clear()
                ended = self.done
                for delta in self._arrived():
                    yield delta
                if ended:
                    break
                await there.wait()
        finally:
            self._wake = lambda: None  # the loop may be closed before the engine hears of it
            self.cancel()
        self.result()

    def _arrived(self) -> Iterator[Delta]:
        while self._deltas:
            yield self._deltas.popleft()

    def _notify(self) -> None:
        try:
            self._wake()
        except RuntimeError:  # the listener's event loop has been closed
            self._future.cancel()

    # From here on for the scheduler.

    def put(self, delta: Delta) -> None:
        self._deltas.append(delta)
        self._notify()

    def finish(self, outcome: Outcome | BaseException) -> bool:
        """Whether it was still waited for."""
        try:
            if isinstance(outcome, BaseException):
                self._future.set_exception(outcome)
            else:
                self._future.set_result(outcome)
        except InvalidStateError:  # cancelled meanwhile
            return False
        self._notify()
        return True
