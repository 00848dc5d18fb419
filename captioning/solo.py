"""Rows with a cache each, which the model itself chooses and fills: one pass for each row.

Slower than slots by the number of rows, and right for every decoder that transformers can generate
with: nothing is assumed about what a layer remembers, or how.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, PreTrainedModel

from captioning.lora_bank import Lora, LoraBank
from captioning.rows import Prompt


@dataclass
class _Row:
    cache: Cache
    room: int
    lora: Lora | None


class Solo:
    """The rows, see `captioning.rows.Rows`."""

    def __init__(self, model: PreTrainedModel, bank: LoraBank, *, max_rows: int, max_tokens: int) -> None:
        self._model = model
        self._bank = bank
        self._max_rows = max_rows
        self._max_tokens = max_tokens
        self._rows: list[_Row] = []
        takes = inspect.signature(model.forward).parameters
        self._options = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}

    def __len__(self) -> int:
        return len(self._rows)

    def holds(self, rows: int, room: int) -> bool:
        return rows <= self._max_rows and rows * room <= self._max_tokens

    def fits(self, rows: int, room: int) -> bool:
        tokens = rows * room + sum(row.room for row in self._rows)
        return rows + len(self._rows) <= self._max_rows and tokens <= self._max_tokens

    def start(self, prompt: Prompt) -> int:
        return 0

    def add(self, prompts: Sequence[Prompt]) -> Tensor:
        rows = [_Row(DynamicCache(config=self._model.config), prompt.room, prompt.lora) for prompt in prompts]
        logits = [self._append(row, prompt.ids) for row, prompt in zip(rows, prompts, strict=True)]
        self._rows += rows
        return torch.cat(logits)

    def copy(self, row: int) -> None:
        source = self._rows[row]
        self._rows.append(_Row(deepcopy(source.cache), source.room, source.lora))

    def write(self, tokens: Sequence[int], start: int, end: int) -> Tensor:
        rows = self._rows[start:end]
        return torch.cat([self._append(row, [token]) for row, token in zip(rows, tokens, strict=True)])

    def drop(self, row: int, *, spoilt: bool = False) -> None:
        self._rows[row] = self._rows[-1]
        self._rows.pop()

    def _append(self, row: _Row, tokens: Sequence[int]) -> Tensor:
        device = self._model.device
        self._bank.route([row.lora])
        output = self._model(
            input_ids=torch.tensor([list(tokens)], device=device),
            past_key_values=row.cache,
            use_cache=True,
            **self._options,
        )
        logits: Tensor = output.logits[:, -1]
        return logits
