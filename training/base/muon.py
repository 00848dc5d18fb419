"""Muon, for a CPU: the matrices of one shape are orthogonalized together, in the type the CPU is fast in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the iteration, from Jordan et al. 2024
_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """`torch.optim.Muon(adjust_lr_fn="match_rms_adamw")`, which always multiplies in bfloat16, one by one.

    A CPU without instructions for bfloat16 needs a hundred times as long for that as in float32.
    Steps are taken along the orthogonalized momentum (https://kellerjordan.github.io/posts/muon/), as
    large as AdamW's (https://arxiv.org/abs/2502.16982).

    Args:
        params: matrices, that is parameters of two dimensions.
        dtype: that the orthogonalization is done in.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self._dtype = dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override] # no closure is ever called
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    direction = self._direction(weight, weight.grad, group["momentum"])
                    by_shape[weight.shape].append((weight, direction.to(self._dtype)))
            for shape, pairs in by_shape.items():
                updates = _orthogonal(torch.stack([direction for _, direction in pairs]))
                rate = group["lr"] * 0.2 * max(shape) ** 0.5
                for (weight, _), update in zip(pairs, updates, strict=True):
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.add_(update, alpha=-rate)

    def _direction(self, weight: Tensor, gradient: Tensor, momentum: float) -> Tensor:
        """Nesterov's: the gradient, moved on by the mean of those so far."""
        state = self.state[weight]
        if not state:
            state["mean"] = torch.zeros_like(weight)
        mean: Tensor = state["mean"]
        mean.lerp_(gradient, 1 - momentum)
        return gradient.lerp(mean, momentum)


def _orthogonal(matrices: Tensor) -> Tensor:
    """Each of the matrices (n, rows, columns) with all singular values near one, by Newton and Schulz."""
    a, b, c = _COEFFICIENTS
    x = matrices.mT if matrices.shape[1] > matrices.shape[2] else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if matrices.shape[1] > matrices.shape[2] else x
