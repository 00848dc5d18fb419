"""The attention that trains a batch fastest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import PreTrainedModel

_SHORT = 256  # tokens


@contextmanager
def attention_for(model: PreTrainedModel, dtype: torch.dtype, ids: torch.Tensor) -> Iterator[None]:
    """Around the passes of `ids`, shape (B, T), through a model that calculates in `dtype`.

    Torch's fused kernel for CPUs is slow in bfloat16: up to some hundred tokens a backward pass takes it
    several times as long as plain matrix products, whose scores are small there.
    """
    is_short = ids.device.type == "cpu" and dtype == torch.bfloat16 and ids.shape[1] <= _SHORT
    if not is_short or model.config._attn_implementation != "sdpa":
        yield
        return
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation("sdpa")
