"""LoftQ: LoRA weights that begin as a correction of the rounding of a 4-bit base model.

One step of the method of Li et al., 2023 (https://arxiv.org/abs/2310.08659): where Q is the quantized
weight W, A and B begin as the factors of the best rank-r part of W - Q, divided by LoRA's scaling. The
paper goes on to quantize what that leaves, W - s B A, and so on: a base model of one's own, which no
other adapter fits and which nobody can load from the published weights in 4 bits. Q stays as it is here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit, Params4bit
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from safetensors import safe_open
from torch import nn

from captioning.base_models import BaseModelSpec, weight_files
from captioning.errors import ConfigError

# Measured on residuals of 4096 x 14336 weights at rank 16: 8 power iterations and 16 more directions find
# 95 % of the squared norm that the exact answer holds, 2 and 0 find 75 to 80 %. The exact answer, by a
# full SVD or by eigenvectors, takes about ten times as long on a CPU.
_POWER_ITERATIONS = 8
_OVERSAMPLING = 16

# Shapes: O outputs and I inputs of a linear layer, R the rank.


class Originals:
    """The weights of a base model as they were published, read one at a time."""

    def __init__(self, spec: BaseModelSpec) -> None:
        self._spec = spec
        self._file_of: dict[str, Path] = {}
        for path in weight_files(spec):
            with safe_open(path, framework="pt") as file:
                self._file_of |= dict.fromkeys(file.keys(), path)

    def read(self, layer: str, shape: torch.Size) -> torch.Tensor:
        """The weight of a linear layer, (O, I) on the CPU.

        Raises:
            ConfigError: it is not in the files, or already quantized there.
        """
        name = f"{layer}.weight"
        if name not in self._file_of:
            raise self._unusable(f"lack '{name}'")
        with safe_open(self._file_of[name], framework="pt") as file:
            weight: torch.Tensor = file.get_tensor(name)
        if weight.shape != shape or not weight.is_floating_point():
            raise self._unusable(f"hold '{name}' quantized, as {weight.dtype} of {tuple(weight.shape)}")
        return weight

    def _unusable(self, reason: str) -> ConfigError:
        return ConfigError(
            f"lora.init=loftq needs the full weights of base model '{self._spec.id}', but its files "
            f"{reason}. Use the model that it was made from, or lora.init=default."
        )


@torch.no_grad()
def begin_with_residuals(adapted: PeftModel, spec: BaseModelSpec) -> None:
    """Let the adapter of a 4-bit model begin as LoftQ does, layer by layer; others keep their beginning.

    Raises:
        ConfigError: the files of the base model hold no full weights.
    """
    originals = Originals(spec)
    for name, layer in _lora_layers(adapted):
        if isinstance(base := layer.get_base_layer(), Linear4bit):
            packed = cast(Params4bit, base.weight)
            rounded = dequantize_4bit(packed.data, packed.quant_state).float()
            _begin(layer, originals.read(name, rounded.shape).to(rounded) - rounded)


def require_originals(adapted: PeftModel, spec: BaseModelSpec) -> None:
    """Raises ConfigError where the files of the base model hold no full weights; `adapted` may be on meta."""
    name, layer = next(_lora_layers(adapted))
    Originals(spec).read(name, cast(nn.Linear, layer.get_base_layer()).weight.shape)


def _lora_layers(adapted: PeftModel) -> Iterator[tuple[str, LoraLayer]]:
    for name, layer in adapted.get_base_model().named_modules():
        if isinstance(layer, LoraLayer):
            yield name, layer


def _begin(layer: LoraLayer, residual: torch.Tensor) -> None:
    (adapter,) = layer.lora_A
    a, b = cast(nn.Linear, layer.lora_A[adapter]), cast(nn.Linear, layer.lora_B[adapter])
    down, up = low_rank(residual / layer.scaling[adapter], layer.r[adapter])
    a.weight[: len(down)] = down
    b.weight[:, : len(down)] = up
    if variant := layer.lora_variant.get(adapter):  # DoRA, which begins with the lengths of Q + s B A
        variant.init(layer, adapter)


def low_rank(matrix: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A, (R, I), and B, (O, R), of nearly the best B A for a matrix, (O, I). R is `rank`, at most O and I.

    A randomized SVD (Halko et al., 2011), which draws on torch's random numbers.
    """
    directions = min(rank + _OVERSAMPLING, *matrix.shape)
    u, values, v = torch.svd_lowrank(matrix, q=directions, niter=_POWER_ITERATIONS)
    roots = values[:rank].sqrt()
    return (v[:, :rank] * roots).T, u[:, :rank] * roots
