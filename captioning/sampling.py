"""Choosing the next token of every row at once. Shapes: B rows, V tokens in the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

NOT_A_NUMBER = -1
"""In place of a token: the row's logits are not finite."""


def choose(
    logits: Tensor,
    temperatures: Sequence[float],
    draws: Sequence[float],
    suppressed: Sequence[int] = (),
    excluded: Sequence[tuple[int, int]] = (),
) -> list[int]:
    """The next token of each row of `logits` (B, V), none of those that are `suppressed`.

    `excluded` are pairs of a row and a token that this row alone may not take.
    A row of temperature 0 takes its likeliest token. Any other takes the token where its number of
    `draws`, uniform in [0, 1), falls on the cumulative chances: nothing of it hangs on the other rows.
    """
    if suppressed:
        logits = logits.index_fill(1, torch.tensor(suppressed, device=logits.device), -torch.inf)
    if excluded:
        rows, ids = torch.tensor(excluded, device=logits.device).T
        logits = logits.index_put((rows, ids), logits.new_tensor(-torch.inf))
    highest, tokens = logits.max(dim=-1)  # a NaN anywhere in a row is its highest
    if any(temperatures):
        warm = [row for row, temperature in enumerate(temperatures) if temperature]
        tokens[warm] = _drawn(logits[warm], [temperatures[row] for row in warm], [draws[row] for row in warm])
    return torch.where(highest.isfinite(), tokens, NOT_A_NUMBER).tolist()


def _drawn(logits: Tensor, temperatures: Sequence[float], draws: Sequence[float]) -> Tensor:
    scale = torch.tensor(temperatures, dtype=torch.float64, device=logits.device)[:, None]
    below = logits.double() - logits.double().amax(dim=-1, keepdim=True)  # 0 stays 0, however small the scale
    cumulative = torch.softmax(below / scale, dim=-1).cumsum(dim=-1)  # (B, V)
    marks = torch.tensor(draws, dtype=torch.float64, device=logits.device)[:, None] * cumulative[:, -1:]
    found = torch.searchsorted(cumulative, marks, right=True)[:, 0]
    return found.clamp(max=logits.shape[-1] - 1)
