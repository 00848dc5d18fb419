"""A request inside the engine, and each of its texts, as tokens come in."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from captioning.generation import Delta, FinishReason, Generation
from captioning.prompt import clean_caption
from captioning.rows import Prompt
from captioning.text_stream import TextStream
from captioning.ticket import Ticket

Decode = Callable[[Sequence[int]], str]


@dataclass(eq=False)
class Job:
    """A request that waits or is being written."""

    ticket: Ticket
    prompt: Prompt
    start: int  # from here on its prompt is read
    ended: dict[int, Generation] = field(default_factory=dict)  # its texts that have

    @property
    def rows(self) -> int:
        return self.ticket.request.n

    @property
    def tokens(self) -> int:
        """To read."""
        return len(self.prompt.ids) - self.start

    def end(self, index: int, text: Generation) -> bool:
        """One text has ended; returns whether the request is answered with it."""
        self.ended[index] = text
        if len(self.ended) < self.rows:
            return False
        return self.ticket.finish([self.ended[index] for index in range(self.rows)])


class Text:
    """One of a request's texts."""

    def __init__(self, job: Job, index: int, decode: Decode) -> None:
        request = job.ticket.request
        self.job = job
        self.index = index
        self.temperature = request.temperature
        self.written = list(request.begin)
        self._begun = len(request.begin)
        self._decode = decode
        self._most = request.max_new_tokens
        self._random = random.Random(None if request.seed is None else request.seed + index)
        followed = job.ticket.stream or request.stop
        self._stream = TextStream(request.stop) if followed else None

    @property
    def not_next(self) -> tuple[int, ...]:
        """The tokens that may not be written now."""
        return self.job.ticket.request.not_next if len(self.written) == self._begun else ()

    def draw(self) -> float:
        """A number of its own, uniform in [0, 1)."""
        return self._random.random()

    def hear(self, token: int, stop_ids: frozenset[int]) -> Generation | None:
        """Append a token; returns the whole text if it has ended with it."""
        ticket, stream = self.job.ticket, self._stream
        ticket.first_token = ticket.first_token or time.monotonic()
        self.written.append(token)
        if stream:
            stream.hear(self._decode(self.written))
        reason = self._reason(token, stop_ids)
        if stream and ticket.stream and (piece := stream.piece(last=reason is not None)):
            ticket.put(Delta(self.index, piece))
        if reason is None:
            return None
        words = stream.text if stream else clean_caption(self._decode(self.written))
        prompt_tokens = len(ticket.request.prompt_ids)
        return Generation(words, reason, prompt_tokens, len(self.written), tuple(self.written))

    def _reason(self, token: int, stop_ids: frozenset[int]) -> FinishReason | None:
        if token in stop_ids or (self._stream and self._stream.stopped):
            return "stop"
        return "length" if len(self.written) >= self._most else None
