"""What is asked of the engine, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class GenerationRequest:
    """One prompt and how to go on from it."""

    prompt_ids: list[int]
    adapter: str | None = None  # adapter id; None: the base model
    max_new_tokens: int = 64
    temperature: float = 0.0  # 0: always the likeliest token
    seed: int | None = None  # for temperature > 0; None: other texts every time; text i draws from seed + i
    n: int = 1  # texts to write; the prompt is read once for all of them
    stop: tuple[str, ...] = ()  # a text ends before the first of these
    begin: tuple[int, ...] = ()  # tokens that a text begins with; they count as written
    not_next: tuple[int, ...] = ()  # tokens that may not come right after those


@dataclass(frozen=True)
class Generation:
    """What was written after one prompt."""

    text: str  # one line, without control characters; of unknown origin: escape it where it is shown
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int  # the end token included
    tokens: tuple[int, ...] = field(default=(), compare=False, repr=False)  # none where a server keeps them


@dataclass(frozen=True)
class Delta:
    """A piece of a text that is being written."""

    index: int  # of the text, where a request asked for several
    text: str  # the pieces of one text joined are its `Generation.text`
