"""Rows of text that a model goes on writing: what every way to keep their keys and values offers.

`captioning.slots` keeps them side by side in one cache and is quick; `captioning.solo` gives each row a
cache of its own and is right for every decoder that transformers can generate with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from captioning.lora_bank import Lora


@dataclass(frozen=True)
class Prompt:
    """What a row begins with."""

    ids: Sequence[int]
    room: int  # tokens that the row will have at most, the prompt's included
    lora: Lora | None = None  # None: the base model


class Rows(Protocol):
    """Rows 0 to `len` - 1. Shapes: G new rows, B rows, V tokens in the vocabulary."""

    def __len__(self) -> int: ...

    def holds(self, rows: int, room: int) -> bool:
        """Whether there is memory for so many rows and no others."""

    def fits(self, rows: int, room: int) -> bool:
        """Whether there is memory for so many rows more, the longest of which needs that room."""

    def start(self, prompt: Prompt) -> int:
        """Tokens at the prompt's beginning whose keys and values are at hand."""

    def add(self, prompts: Sequence[Prompt]) -> Tensor:
        """Read prompts of equal `start` into new rows, all or none; returns the logits (G, V) after them."""

    def copy(self, row: int) -> None:
        """Add a row that goes on from where that one is."""

    def write(self, tokens: Sequence[int], start: int, end: int) -> Tensor:
        """Append a token to each row from `start` to before `end`; returns the logits (B, V) after them.

        When it raises, no row has changed.
        """

    def drop(self, row: int, *, spoilt: bool = False) -> None:
        """Take a row out; the last row takes its place. A spoilt one may hold numbers that are not finite."""
