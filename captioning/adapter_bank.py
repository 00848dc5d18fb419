"""LoRA adapters that live side by side in one base model, each row of a batch going through its own.

Knows peft; knows neither manifests nor tokens. Not thread-safe: `captioning.engine` holds the lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, cast

from captioning.adapters import AdapterWeights
from captioning.errors import AdapterError

if TYPE_CHECKING:  # who captions with the base model alone does not wait for peft
    from peft import LoraConfig, PeftModel
    from peft.tuners.lora import LoraModel
    from torch import Tensor, nn
    from torch.utils.hooks import RemovableHandle
    from transformers import PreTrainedModel

BASE = "__base__"
"""The slot of a row that goes through no adapter (peft's own name for it)."""


class AdapterBank:
    """Adds adapters to a model and takes them out again; `route` says which rows of a batch use which.

    peft routes by hooks that it sets before every forward pass and leaves behind when one fails: the
    next batch would then run through the failed one's adapters. Here each layer gets one hook for good.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._peft: PeftModel | None = None
        self._numbers = count()
        self._row_slots: list[str] = []
        self._hooks: list[RemovableHandle] = []

    def add(self, weights: AdapterWeights) -> str:
        """Put an adapter into the model; returns its slot.

        Raises:
            AdapterError: its tensors are not exactly those that its settings call for in this model.
        """
        from peft import set_peft_model_state_dict

        slot = f"slot{next(self._numbers)}"  # peft takes no "." in a name, an adapter id may have one
        peft_model = self._make_slot(slot, weights.config)
        try:
            check_tensors(peft_model, slot, weights.tensors)
            set_peft_model_state_dict(peft_model, weights.tensors, adapter_name=slot)
        except BaseException:
            self.remove(slot)
            raise
        self._rehook()
        return slot

    def remove(self, slot: str) -> None:
        if self._peft is not None:
            self._peft.delete_adapter(slot)

    def route(self, slots: Sequence[str]) -> None:
        """From now on row i of a batch goes through the adapter in `slots[i]`."""
        self._row_slots = list(slots)

    def _make_slot(self, slot: str, config: LoraConfig) -> PeftModel:
        from peft import PeftModel

        try:
            if self._peft is None:
                self._peft = PeftModel(self._model, config, adapter_name=slot)
            else:
                self._peft.add_adapter(slot, config)
        except (TypeError, ValueError) as error:
            raise AdapterError(f"the adapter does not fit this base model: {error}") from error
        cast("LoraModel", self._peft.base_model).set_adapter(
            []
        )  # none is active by itself, only the routed ones run
        self._peft.requires_grad_(False).eval()
        return self._peft

    def _rehook(self) -> None:
        from peft.tuners.lora import LoraLayer

        for hook in self._hooks:
            hook.remove()
        layers = (module for module in self._model.modules() if isinstance(module, LoraLayer))
        self._hooks = [layer.register_forward_pre_hook(self._name_rows, with_kwargs=True) for layer in layers]

    def _name_rows(
        self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, kwargs | {"adapter_names": self._row_slots}


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
