"""The optimizer and its learning rate, which follows from the step number alone."""

from __future__ import annotations

import math

import torch

from training.model import Tensors
from training.recipe import Optimizer


def build_optimizer(settings: Optimizer, weights: Tensors) -> torch.optim.Optimizer:
    if settings.name == "adamw":
        return torch.optim.AdamW(
            weights.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
    from bitsandbytes.optim import PagedAdamW8bit

    optimizer: torch.optim.Optimizer = PagedAdamW8bit(
        list(weights.values()), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    return optimizer


def learning_rate(settings: Optimizer, step: int, total_steps: int) -> float:
    """Of the step with that index from 0: linear warm-up, then down to 0 at `total_steps`."""
    warmup = round(settings.warmup_ratio * total_steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, total_steps - warmup)
    factor = {"cosine": (1 + math.cos(math.pi * done)) / 2, "linear": 1 - done, "constant": 1.0}
    return settings.learning_rate * factor[settings.schedule]
