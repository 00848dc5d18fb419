"""Whether an adapter's tensors are those that its settings call for in a model, and where each belongs.

peft itself says which layers an adapter's settings mean, on a copy of the model without weights.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, cast

import torch

from captioning.adapters import AdapterWeights
from captioning.errors import AdapterError
from captioning.lora_bank import Lora, Matrices

if TYPE_CHECKING:  # who captions with the base model alone does not wait for peft
    from peft import LoraConfig, PeftModel
    from torch import Tensor, nn
    from transformers import PreTrainedModel

_NAME = "fitted"
_PREFIX = "base_model.model."


class AdapterFit:
    """Fits adapters to one model."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._skeleton: PreTrainedModel | None = None

    def lora(self, weights: AdapterWeights) -> Lora:
        """The adapter's matrices, on the model's device and in its number type.

        Raises:
            AdapterError: its tensors are not exactly those that its settings call for in this model.
        """
        peft_model = self._fitted(weights.config)
        check_tensors(peft_model, _NAME, weights.tensors)
        if bad := [name for name, tensor in weights.tensors.items() if not tensor.isfinite().all()]:
            raise AdapterError(
                f"the adapter's tensor '{min(bad)}' has numbers that are not finite. Retrain it."
            )
        layers = {
            name: self._matrices(weights.tensors, name, scaling)
            for name, scaling in _scalings(peft_model).items()
        }
        return Lora(layers)

    def _fitted(self, config: LoraConfig) -> PeftModel:
        from peft import PeftModel

        try:
            return PeftModel(self._bare(), config, adapter_name=_NAME, low_cpu_mem_usage=True)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # settings that anyone wrote: peft raises whatever it stumbles over
            raise AdapterError(f"the adapter does not fit this base model: {error}") from error

    def _bare(self) -> PreTrainedModel:
        if self._skeleton is None:
            with torch.device("meta"):
                self._skeleton = type(self._model)(deepcopy(self._model.config))
        return deepcopy(self._skeleton)

    def _matrices(self, tensors: dict[str, Tensor], name: str, scaling: float) -> Matrices:
        where = next(self._model.get_submodule(name).parameters()).device
        a, b = (
            tensors[f"{_PREFIX}{name}.{part}.weight"].to(where, self._model.dtype).contiguous()
            for part in ("lora_A", "lora_B")
        )
        return Matrices(a, b, scaling)


def check_tensors(peft_model: PeftModel, slot: str, tensors: dict[str, Tensor]) -> None:
    """Refuse what peft lets pass: a tensor without a target would serve the base model, unnoticed."""
    from peft import get_peft_model_state_dict

    wanted = get_peft_model_state_dict(peft_model, adapter_name=slot, save_embedding_layers=False)
    problems = {
        "has no target in this base model": tensors.keys() - wanted.keys(),
        "is missing": wanted.keys() - tensors.keys(),
        "has another shape than here": {
            name for name in tensors.keys() & wanted.keys() if tensors[name].shape != wanted[name].shape
        },
    }
    for problem, names in problems.items():
        if names:
            more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            raise AdapterError(f"the adapter's tensor '{min(names)}' {problem}{more}")


def _scalings(peft_model: PeftModel) -> dict[str, float]:
    """alpha / r, or what stands for it, of each adapted layer."""
    from peft.tuners.lora import LoraLayer

    found: dict[str, float] = {}
    for name, module in cast("nn.Module", peft_model.base_model.model).named_modules():
        if isinstance(module, LoraLayer):
            if _NAME not in module.lora_A:
                kind = type(module.get_base_layer()).__name__
                raise AdapterError(
                    f"the adapter changes '{name}', of the kind {kind}: only linear layers can be"
                )
            found[name] = module.scaling[_NAME]
    return found
