"""The decoding loop: token ids in, token ids out, for one batch and with a key-value cache.

Knows nothing of text, prompts or adapter files. Shapes: B rows still writing, T tokens so far, N of
them new, V tokens in the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

FinishReason = Literal["stop", "length"]


@dataclass
class Row:
    """One prompt and what has been written after it."""

    prompt_ids: list[int]
    max_new_tokens: int
    temperature: float = 0.0  # 0: always the likeliest token
    seed: int | None = None  # None: other samples every time
    slot: str = ""  # adapter slot, for whoever routes the batch
    written: list[int] = field(default_factory=list)
    finish_reason: FinishReason = "length"
    ended: bool = False

    def __post_init__(self) -> None:
        self._random = torch.Generator()
        if self.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(self.seed)

    def write(self, logits: Tensor, stop_ids: frozenset[int]) -> None:
        """Choose the next token from its logits (V,); own random numbers keep a row free of its company."""
        if self.temperature == 0:
            token = int(logits.argmax())
        else:
            chances = torch.softmax(logits.float().cpu() / self.temperature, dim=-1)
            token = int(torch.multinomial(chances, 1, generator=self._random))
        self.written.append(token)
        if token in stop_ids:
            self.finish_reason = "stop"
        self.ended = token in stop_ids or len(self.written) == self.max_new_tokens


@torch.inference_mode()
def decode(
    model: PreTrainedModel,
    rows: Sequence[Row],
    *,
    stop_ids: frozenset[int],
    pad_id: int,
    route: Callable[[Sequence[str]], None],
) -> None:
    """Write every row to its end, all at once; rows that have ended leave the batch.

    `route` hears the adapter slots of the batch's rows whenever these change.
    """
    cache = DynamicCache(config=model.config)
    rows = list(rows)
    route([row.slot for row in rows])
    ids, mask = _left_padded(rows, pad_id, model.device)  # (B, N), (B, T)
    while True:
        logits = _next_logits(model, ids, mask, cache)  # (B, V)
        for row, row_logits in zip(rows, logits, strict=True):
            row.write(row_logits, stop_ids)
        going = [index for index, row in enumerate(rows) if not row.ended]
        if not going:
            return
        if len(going) < len(rows):
            rows = [rows[index] for index in going]
            route([row.slot for row in rows])
            kept = torch.tensor(going, device=model.device)
            cache.batch_select_indices(kept)
            mask = mask[kept]
        ids = torch.tensor([[row.written[-1]] for row in rows], device=model.device)
        mask = torch.nn.functional.pad(mask, (0, 1), value=1)


def _next_logits(model: PreTrainedModel, ids: Tensor, mask: Tensor, cache: DynamicCache) -> Tensor:
    """Logits (B, V) of the tokens that follow `ids` (B, N); `mask` (B, T) covers the cached ones too."""
    positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    output = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    logits: Tensor = output.logits[:, -1]
    return logits


def _left_padded(rows: Sequence[Row], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    longest = max(len(row.prompt_ids) for row in rows)
    padding = [longest - len(row.prompt_ids) for row in rows]
    ids = [[pad_id] * pads + row.prompt_ids for pads, row in zip(padding, rows, strict=True)]
    mask = [[0] * pads + [1] * (longest - pads) for pads in padding]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)
