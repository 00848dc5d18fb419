"""The model that is trained: a frozen base model with float32 LoRA weights, real or on the meta device.

How the weights are updated is the loop's business.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from captioning.base_models import BaseModelSpec, auto_dtype, load_model
from captioning.errors import ConfigError
from training import loftq
from training.recipe import Lora, Recipe

Tensors = dict[str, torch.Tensor]

_DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def build(recipe: Recipe, spec: BaseModelSpec, device: str | torch.device) -> PeftModel:
    """The base model as the recipe wants it, with fresh adapter weights drawn from the recipe's seed."""
    base = load_model(
        spec,
        dtype=number_type(recipe, device),
        quantization=recipe.quantization,
        double_quantization=recipe.double_quantization,
        device=device,
    )
    if recipe.activation_checkpointing:
        base.activation_checkpointing_enable({"use_reentrant": False})
    torch.manual_seed(recipe.seed)
    adapted = with_lora(base, recipe.lora)
    if recipe.lora.init == "loftq":
        loftq.begin_with_residuals(adapted, spec)
    return adapted


def number_type(recipe: Recipe, device: str | torch.device) -> torch.dtype:
    """What the base model is held in and calculates in on that device."""
    return auto_dtype(device) if recipe.precision == "auto" else _DTYPES[recipe.precision]


def check(recipe: Recipe, spec: BaseModelSpec) -> None:
    """Find out from the model's shapes whether it can be built so; it must be on this machine.

    Raises:
        ConfigError: the recipe names modules that the base model lacks, or wants LoftQ on quantized files.
    """
    adapted = with_lora(on_meta(AutoConfig.from_pretrained(spec.source)), recipe.lora, meta=True)
    if recipe.lora.init == "loftq":
        loftq.require_originals(adapted, spec)


def on_meta(config: PretrainedConfig) -> PreTrainedModel:
    """The model's shapes without its weights."""
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return model


def with_lora(base: PreTrainedModel, lora: Lora, *, meta: bool = False) -> PeftModel:
    """The base model with an adapter, all of whose weights are float32; the base model's are frozen.

    Raises:
        ConfigError: `target_modules` or `modules_to_save` names what the base model has not.
    """
    targets = lora.target_modules
    _require_targets(base, lora)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        modules_to_save=_modules_to_save(base, lora),
        use_rslora=lora.rslora,
        use_dora=lora.dora,
        init_lora_weights="gaussian" if lora.init == "gaussian" else True,
    )
    try:
        adapted = cast(PeftModel, get_peft_model(base, config, low_cpu_mem_usage=meta))
    except ValueError as error:  # experts as one weight, say, on which peft has no dropout
        raise ConfigError(f"the lora section does not fit this base model: {error}") from error
    if lora.init == "orthogonal" and not meta:
        _begin_orthogonal(adapted)
    for weight in trainable(adapted).values():
        weight.data = weight.data.float()  # of `modules_to_save`: peft leaves them as they were
    return adapted


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


@torch.no_grad()
def _begin_orthogonal(adapted: PeftModel) -> None:
    """A and B both random, in halves of the rank that are orthogonal, so that B A = 0.

    As peft's `orthogonal` (https://datta0.github.io/posts/rethink-lora-init/), which fails on a
    quantized layer and rounds A and B to the type of the layer's weights: B A is not 0 then.
    """
    for layer in adapted.modules():
        if not isinstance(layer, LoraLayer):
            continue
        (name,) = layer.lora_A
        a, b = cast(nn.Linear, layer.lora_A[name]), cast(nn.Linear, layer.lora_B[name])
        rank = a.out_features
        rows, _ = torch.linalg.qr(torch.randn(rank, rank))
        a.weight.copy_((torch.randn(a.in_features, rank // 2) @ rows[0::2]).T / 10)
        b.weight.copy_(torch.randn(b.out_features, rank // 2) @ rows[1::2] / 10)


def _require_targets(base: PreTrainedModel, lora: Lora) -> None:
    if isinstance(lora.target_modules, str):
        return
    shared = _shared(base)
    linear = {
        _leaf(name)
        for name, module in base.named_modules()
        if isinstance(module, nn.Linear) and module not in shared
    }
    if missing := [target for target in lora.target_modules if target not in linear]:
        raise ConfigError(
            f"lora.target_modules: the base model has no {', '.join(missing)}. "
            f"Its linear layers: {_listed(linear)}."
        )


def _modules_to_save(base: PreTrainedModel, lora: Lora) -> list[str] | None:
    """Full names: peft would take `norm` for the end of `input_layernorm`, too."""
    if lora.modules_to_save is None:
        return None
    shared, head = _shared(base), base.get_output_embeddings()
    possible = {
        name: _leaf(name)
        for name, module in base.named_modules()
        if any(True for _ in module.parameters(recurse=False))
        and (module is head or not isinstance(module, nn.Linear))  # those may be in 4 bits
        and module not in shared
    }
    if missing := [name for name in lora.modules_to_save if name not in possible.values()]:
        sharing = " Its embeddings and head share their weights." if shared else ""
        raise ConfigError(
            f"lora.modules_to_save: the base model has no {', '.join(missing)} that can be trained in full. "
            f"It has: {_listed(possible.values())}.{sharing}"
        )
    return [name for name, leaf in possible.items() if leaf in lora.modules_to_save]


def _shared(base: PreTrainedModel) -> list[nn.Module | None]:
    """Embeddings and head, where they are one matrix: what trains one of them would part them."""
    tied = base.config.tie_word_embeddings
    return [base.get_input_embeddings(), base.get_output_embeddings()] if tied else []


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(set(names)))
