"""LoRA adapters side by side: each row of a batch goes through its own, the base model stays as it is.

A hook on each adapted layer adds `B(A(x))`. The matrices of all adapters at work are stacked along their
ranks, so that any number of adapters costs two products; a mask (row, rank) keeps each row to its own.
Prompts go through runs of rows with the same adapter, where the stack is too wide for so many tokens.
Not thread-safe: the scheduler's thread alone comes here.

Shapes: B rows, N tokens, r the rank of one adapter, R the ranks of all of a stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor, nn

_WARM = 16  # adapters that stay in the stack when they are not at work, lest it be built at every turn


class Matrices(NamedTuple):
    """What an adapter adds to one layer: `scaling * B(A(x))`."""

    a: Tensor  # (r, in)
    b: Tensor  # (out, r)
    scaling: float  # alpha / r, or what stands for it


@dataclass(frozen=True, eq=False)
class Lora:
    """An adapter's matrices, by the name of the layer they belong to, in the model's number type."""

    layers: dict[str, Matrices]

    @property
    def bytes(self) -> int:
        return sum(layer.a.nbytes + layer.b.nbytes for layer in self.layers.values())


@dataclass(frozen=True)
class _Stacked:
    """One layer's matrices of all adapters of a stack."""

    a: Tensor  # (R, in)
    b: Tensor  # (out, R), scaled
    ranks: tuple[int, ...]  # of each adapter; 0 where it does not adapt this layer


class LoraBank:
    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._hooked: set[str] = set()
        self._rows: list[Lora | None] = []
        self._runs: list[tuple[Lora | None, int, int]] = []  # adapter, from row, to row
        self._members: list[Lora] = []  # of the stack, the last used first
        self._stack: dict[str, _Stacked] = {}
        self._masks: dict[tuple[int, ...], Tensor] = {}  # (B, R), by the ranks of a layer

    def forget(self, lora: Lora) -> None:
        """Keep nothing of an adapter that is gone."""
        if lora in self._members:
            self._members, self._stack = [], {}
        self._rows = []

    def route(self, rows: Sequence[Lora | None]) -> None:
        """From now on row i of a batch goes through the adapter `rows[i]`."""
        if self._rows == rows:
            return
        self._rows = list(rows)
        self._hook({lora for lora in rows if lora})
        self._masks = {}
        self._runs = []
        for lora, run in groupby(enumerate(rows), key=lambda item: item[1]):
            numbers = [number for number, _ in run]
            self._runs.append((lora, numbers[0], numbers[-1] + 1))

    def _hook(self, loras: set[Lora]) -> None:
        for name in {name for lora in loras for name in lora.layers} - self._hooked:
            self._model.get_submodule(name).register_forward_hook(partial(self._add, name))
            self._hooked.add(name)

    def _add(self, name: str, layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        x = args[0]
        if len(self._runs) == 1:
            _add_product(output, x, self._runs[0][0], name)
        elif x.shape[0] != len(self._rows):
            raise RuntimeError(f"{name} sees {x.shape[0]} rows, the batch has {len(self._rows)}")
        elif stacked := self._stacked(name):
            if x.ndim > 2 and x.shape[1] > 1 and stacked.a.shape[0] > stacked.a.shape[1] // 2:
                for lora, start, end in self._runs:
                    _add_product(output[start:end], x[start:end], lora, name)
            else:
                hidden = (_flat(x, stacked.a) @ stacked.a.T).view(len(self._rows), -1, stacked.a.shape[0])
                masked = hidden.masked_fill(self._mask(stacked)[:, None], 0)  # (B, N, R); no infinity leaks
                _add_stacked(output, masked.flatten(0, 1), stacked.b)

    def _stacked(self, name: str) -> _Stacked | None:
        needed = dict.fromkeys(lora for lora in self._rows if lora)
        if needed.keys() - set(self._members):
            self._restack([*needed, *(lora for lora in self._members if lora not in needed)])
        return self._stack.get(name)

    def _restack(self, members: list[Lora]) -> None:
        working = len({lora for lora in self._rows if lora})
        self._members = members[: max(_WARM, working)]
        self._masks = {}
        names = {name for lora in self._members for name in lora.layers}
        self._stack = {name: _stack([lora.layers.get(name) for lora in self._members]) for name in names}

    def _mask(self, stacked: _Stacked) -> Tensor:
        """Which ranks are another adapter's than the row's."""
        if (mask := self._masks.get(stacked.ranks)) is None:
            places = {lora: place for place, lora in enumerate(self._members)}
            foreign = torch.ones(len(self._rows), len(places), dtype=torch.bool)
            for row, lora in enumerate(self._rows):
                if lora:
                    foreign[row, places[lora]] = False
            mask = foreign.repeat_interleave(torch.tensor(stacked.ranks), dim=1).to(stacked.a.device)
            self._masks[stacked.ranks] = mask
        return mask


def _stack(layers: Sequence[Matrices | None]) -> _Stacked:
    there = [layer for layer in layers if layer]
    return _Stacked(
        torch.cat([layer.a for layer in there], dim=0),
        torch.cat([layer.b * layer.scaling for layer in there], dim=1),
        tuple(layer.a.shape[0] if layer else 0 for layer in layers),
    )


def _add_product(output: Tensor, x: Tensor, lora: Lora | None, name: str) -> None:
    """As peft computes it, to the last bit: a base model in 4 or 8 bits makes much of a last bit."""
    if lora and (layer := lora.layers.get(name)):
        product = (_flat(x, layer.a) @ layer.a.T) @ layer.b.T
        _flat_view(output).add_(product if layer.scaling == 1 else product.mul_(layer.scaling))


def _add_stacked(output: Tensor, hidden: Tensor, b: Tensor) -> None:
    """Add hidden (B, R) times b (out, R) to output (..., out), in its place."""
    flat = _flat_view(output)
    if flat.dtype == b.dtype:
        flat.addmm_(hidden, b.T)
    else:
        flat.add_(hidden @ b.T)


def _flat_view(output: Tensor) -> Tensor:
    return output.view(-1, output.shape[-1])


def _flat(x: Tensor, like: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1]).to(like.dtype)
