"""LoRA adapters side by side: each row of a batch goes through its own, the base model stays as it is.

A hook on each adapted layer adds `B(A(x))`. The matrices of all adapters at work are stacked along their
ranks, so that any number of adapters costs two products. Where each row has one token, all rows go through
the whole stack, and a mask keeps each to its own ranks; where rows have many, each gets a copy of its ranks.
Not thread-safe: the scheduler's thread alone comes here.

Shapes: B rows, N tokens, r the largest rank of one adapter, R the ranks of all of a stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
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
    """One layer's matrices of all adapters of a stack; the last rank is of none, and zero."""

    a: Tensor  # (R + 1, in)
    b: Tensor  # (R + 1, out), scaled
    ranks: tuple[int, ...]  # of each adapter; 0 where it does not adapt this layer


class _Places(NamedTuple):
    """Where each row's ranks are in a stack."""

    foreign: Tensor  # (B, R), whether the rank is another adapter's
    own: Tensor  # (B, r), numbers of ranks


class LoraBank:
    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._hooked: set[str] = set()
        self._rows: list[Lora | None] = []
        self._alike = True  # whether all rows have the same adapter
        self._members: list[Lora] = []  # of the stack, the last used first
        self._stack: dict[str, _Stacked] = {}
        self._plans: dict[str, tuple[_Stacked, _Places] | None] = {}  # by layer, for these rows
        self._places: dict[tuple[int, ...], _Places] = {}  # by the ranks of a layer, for these rows

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
        self._plans, self._places = {}, {}
        self._alike = len(set(rows)) == 1

    def _hook(self, loras: set[Lora]) -> None:
        for name in {name for lora in loras for name in lora.layers} - self._hooked:
            self._model.get_submodule(name).register_forward_hook(partial(self._add, name))
            self._hooked.add(name)

    def _add(self, name: str, layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        x = args[0]
        if self._alike:
            _add_product(output, x, self._rows[0], name)
        elif x.shape[0] != len(self._rows):
            raise RuntimeError(f"{name} sees {x.shape[0]} rows, the batch has {len(self._rows)}")
        elif plan := self._plan(name):
            stacked, places = plan
            if x.ndim > 2 and x.shape[1] > 1:
                _add_own(output, x, stacked, places.own)
            else:
                _add_masked(output, x, stacked, places.foreign)

    def _plan(self, name: str) -> tuple[_Stacked, _Places] | None:
        """A layer's stack, and where the rows' ranks are in it; None where no adapter changes it."""
        if name not in self._plans:
            needed = dict.fromkeys(lora for lora in self._rows if lora)
            if needed.keys() - set(self._members):
                self._restack([*needed, *(lora for lora in self._members if lora not in needed)])
            stacked = self._stack.get(name)
            self._plans[name] = (stacked, self._find(stacked)) if stacked else None
        return self._plans[name]

    def _restack(self, members: list[Lora]) -> None:
        working = len({lora for lora in self._rows if lora})
        self._members = members[: max(_WARM, working)]
        self._plans, self._places = {}, {}
        names = {name for lora in self._members for name in lora.layers}
        self._stack = {name: _stack([lora.layers.get(name) for lora in self._members]) for name in names}

    def _find(self, stacked: _Stacked) -> _Places:
        if stacked.ranks not in self._places:
            members = {lora: number for number, lora in enumerate(self._members)}
            numbers = [members[lora] if lora else len(members) for lora in self._rows]
            rows = torch.tensor(numbers)[:, None]  # (B, 1)
            ranks = torch.tensor([*stacked.ranks, 0])  # the base model's are none
            ends = ranks.cumsum(dim=0)
            own = (ends - ranks)[rows] + torch.arange(int(ranks.max()))  # (B, r)
            owners = torch.arange(len(ranks)).repeat_interleave(ranks)  # (R,)
            places = owners != rows, own.where(own < ends[rows], ends[-1])
            self._places[stacked.ranks] = _Places(*(place.to(stacked.a.device) for place in places))
        return self._places[stacked.ranks]


def _stack(layers: Sequence[Matrices | None]) -> _Stacked:
    there = [layer for layer in layers if layer]
    a, b = there[0].a, there[0].b
    return _Stacked(
        torch.cat([*(layer.a for layer in there), a.new_zeros(1, a.shape[1])]),
        torch.cat([*((layer.b * layer.scaling).T for layer in there), b.new_zeros(1, b.shape[0])]),
        tuple(layer.a.shape[0] if layer else 0 for layer in layers),
    )


def _add_product(output: Tensor, x: Tensor, lora: Lora | None, name: str) -> None:
    """As peft computes it, to the last bit: a base model in 4 or 8 bits makes much of a last bit."""
    if lora and (layer := lora.layers.get(name)):
        product = (_flat(x, layer.a) @ layer.a.T) @ layer.b.T
        _flat_view(output).add_(product if layer.scaling == 1 else product.mul_(layer.scaling))


def _add_masked(output: Tensor, x: Tensor, stacked: _Stacked, foreign: Tensor) -> None:
    """One token of each row, through the whole stack."""
    hidden = _flat(x, stacked.a) @ stacked.a[:-1].T  # (B, R)
    hidden.masked_fill_(foreign, 0)  # a product with 0 would let infinity through
    flat = _flat_view(output)
    if flat.dtype == stacked.b.dtype:
        flat.addmm_(hidden, stacked.b[:-1])
    else:
        flat.add_(hidden @ stacked.b[:-1])


def _add_own(output: Tensor, x: Tensor, stacked: _Stacked, own: Tensor) -> None:
    """Many tokens of each row, through a copy of its ranks: the whole stack would be wide for so many."""
    hidden = x.to(stacked.a.dtype) @ stacked.a[own].mT  # (B, N, r)
    if output.dtype == stacked.b.dtype:
        output.baddbmm_(hidden, stacked.b[own])
    else:
        output.add_(hidden @ stacked.b[own])


def _flat_view(output: Tensor) -> Tensor:
    return output.view(-1, output.shape[-1])


def _flat(x: Tensor, like: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1]).to(like.dtype)
