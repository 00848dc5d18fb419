"""LoRA written from its formulas: reads an adapter folder, and knows nothing of peft.

Shapes: W (outputs, inputs), A (r, inputs), B (outputs, r), m (outputs,).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

_PREFIX = "base_model.model."


class LoraLinear(nn.Module):
    """h = W x + s B (A x), with W frozen (Hu et al., 2021, equation 3)."""

    def __init__(self, frozen: nn.Module, a: Tensor, b: Tensor, scaling: float) -> None:
        super().__init__()
        self.frozen, self.a, self.b, self.scaling = frozen, a, b, scaling

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.frozen(x)
        return output + self.scaling * F.linear(F.linear(x, self.a), self.b)


class DoraLinear(LoraLinear):
    """h = m V / |V| x for each row of V = W + s B A (Liu et al., 2024, equation 5)."""

    def __init__(self, frozen: nn.Linear, a: Tensor, b: Tensor, scaling: float, m: Tensor) -> None:
        super().__init__(frozen, a, b, scaling)
        self.weight, self.m = frozen.weight, m

    def forward(self, x: Tensor) -> Tensor:
        rows = self.weight + self.scaling * self.b @ self.a
        return F.linear(x, self.m[:, None] * rows / rows.norm(dim=1, keepdim=True))


def scaling_of(config: Mapping[str, float]) -> float:
    """alpha / r, or alpha / sqrt(r), which keeps the output's size at any rank (Kalajdzievski, 2023)."""
    return config["lora_alpha"] / (math.sqrt(config["r"]) if config["use_rslora"] else config["r"])


def apply(model: nn.Module, folder: Path) -> nn.Module:
    """Put an exported adapter into its base model, in place: every tensor of the folder is used."""
    config = json.loads((folder / "adapter_config.json").read_text())
    tensors = load_file(folder / "adapter_model.safetensors")
    tensors = {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items()}
    adapted = [name.removesuffix(".lora_A.weight") for name in tensors if name.endswith(".lora_A.weight")]
    for name in adapted:
        layer = model.get_submodule(name)
        factors = tensors.pop(f"{name}.lora_A.weight"), tensors.pop(f"{name}.lora_B.weight")
        oracle: nn.Module = LoraLinear(layer, *factors, scaling_of(config))
        if config["use_dora"]:
            assert isinstance(layer, nn.Linear)
            magnitude = tensors.pop(f"{name}.lora_magnitude_vector")
            oracle = DoraLinear(layer, *factors, scaling_of(config), magnitude)
        model.set_submodule(name, oracle)
    for name, tensor in tensors.items():  # trained in full
        model.get_parameter(name).data = tensor
    return model
