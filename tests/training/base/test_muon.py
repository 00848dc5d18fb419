"""Our Muon takes the steps of PyTorch's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from training.base.muon import Muon

SHAPES = ((24, 24), (24, 24), (64, 24), (24, 64))


def _after_steps(optimizer: torch.optim.Optimizer, weights: list[Tensor]) -> None:
    generator = torch.Generator().manual_seed(2)
    for _ in range(4):
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_steps_are_those_of_pytorch(dtype: torch.dtype) -> None:
    starts = [torch.randn(shape, generator=torch.Generator().manual_seed(1)) for shape in SHAPES]
    theirs, ours = ([start.clone() for start in starts] for _ in range(2))
    peer = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.5, adjust_lr_fn="match_rms_adamw")
    _after_steps(peer, theirs)
    _after_steps(Muon(ours, lr=0.02, weight_decay=0.5, dtype=dtype), ours)
    for start, their, our in zip(starts, theirs, ours, strict=True):
        assert (their - our).norm() < 0.02 * (their - start).norm()  # theirs is rounded to bfloat16


def test_what_has_no_gradient_stays() -> None:
    moved, still = torch.ones(4, 4), torch.ones(4, 4)
    moved.grad = torch.eye(4)
    Muon([moved, still], lr=0.1).step()
    assert not moved.equal(torch.ones(4, 4))
    assert still.equal(torch.ones(4, 4))
