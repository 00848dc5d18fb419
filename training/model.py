"""The model that is trained: a frozen base model with float32 LoRA weights, real or on the meta device.

How the weights are updated is the loop's business.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from captioning.base_models import BaseModelSpec, load_model
from captioning.errors import ConfigError
from training.recipe import Lora, Recipe

Tensors = dict[str, torch.Tensor]

_DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def build(recipe: Recipe, spec: BaseModelSpec, device: str | torch.device) -> PeftModel:
    """The base model as the recipe wants it, with fresh adapter weights drawn from the recipe's seed."""
    base = load_model(spec, dtype=_DTYPES[recipe.precision], quantization=recipe.quantization, device=device)
    if recipe.activation_checkpointing:
        base.activation_checkpointing_enable({"use_reentrant": False})
    torch.manual_seed(recipe.seed)
    return with_lora(base, recipe.lora)


def on_meta(config: PretrainedConfig) -> PreTrainedModel:
    """The model's shapes without its weights."""
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return model


def with_lora(base: PreTrainedModel, lora: Lora, *, meta: bool = False) -> PeftModel:
    """Raises ConfigError where `target_modules` names no module of the base model."""
    targets = lora.target_modules
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        use_rslora=lora.rslora,
        init_lora_weights="gaussian" if lora.init == "gaussian" else True,
    )
    _require_targets(base, lora)
    return cast(PeftModel, get_peft_model(base, config, low_cpu_mem_usage=meta))


def trainable(model: torch.nn.Module) -> Tensors:
    """The adapter's weights by their names in the model: what is trained, checkpointed and exported."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def copied(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}


def assign(model: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Copy adapter weights into the model, in place: the optimizer holds on to its parameters."""
    weights = trainable(model)
    if weights.keys() != tensors.keys():
        raise ValueError("the adapter weights are not those of this model and recipe")
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(tensors[name])


def checksum(tensors: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _require_targets(base: PreTrainedModel, lora: Lora) -> None:
    if isinstance(lora.target_modules, str):
        return
    leaves = {name.rpartition(".")[2] for name, _ in base.named_modules()}
    if missing := [target for target in lora.target_modules if target not in leaves]:
        linear = sorted(
            {
                name.rpartition(".")[2]
                for name, module in base.named_modules()
                if isinstance(module, torch.nn.Linear)
            }
        )
        raise ConfigError(
            f"lora.target_modules: the base model has no {', '.join(missing)}. "
            f"Its linear layers: {', '.join(linear)}."
        )
