"""What a run would take: exact parameter counts, and an estimate of the memory on each GPU.

Counts come from the model's shapes on the meta device, through peft itself; no weights are needed,
and for the models of `model_configs/` no network either. The memory is an estimate by part.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel

from captioning.base_models import BaseModelSpec, resolve
from captioning.errors import ConfigError
from training import model
from training.recipe import Recipe

MODEL_CONFIGS = Path(__file__).parent / "model_configs"

_GIB = 1024**3
_NF4_BITS = 4.127  # a weight with its share of the doubly quantized scales
_OPTIMIZER_BYTES = {"paged_adamw_8bit": 2.03, "adamw": 8.0}  # of both moments, a weight
_LABEL_TOKENS = 64  # of a caption; the head runs on these only
_CUDA_CONTEXT_GIB = 0.75  # kernels, workspaces, fragmentation


@dataclass(frozen=True)
class Plan:
    model: str
    trainable_parameters: int
    total_parameters: int  # of the base model
    trainable_share: float  # of base model and adapter together
    quantized_parameters: int  # held in 4 bits
    memory_gib: dict[str, float]  # per worker, by part, and their `total`
    workers: int
    samples_per_step: int


def make_plan(recipe: Recipe) -> Plan:
    """Raises ConfigError where the model's configuration cannot be had."""
    spec = resolve(recipe.model)
    config = model_config(spec)
    base = model.on_meta(config)
    total = sum(weight.numel() for weight in base.parameters())
    in_linears = _linear_parameters(base)
    adapted = model.with_lora(base, recipe.lora, meta=True)
    trainable = sum(weight.numel() for weight in model.trainable(adapted).values())
    quantized = in_linears if recipe.quantization else 0
    memory = _memory_gib(recipe, config, total, quantized, trainable)
    return Plan(
        spec.id,
        trainable,
        total,
        trainable / (total + trainable),
        quantized,
        {part: round(size, 3) for part, size in (memory | {"total": sum(memory.values())}).items()},
        recipe.resources.workers,
        recipe.samples_per_step,
    )


def model_config(spec: BaseModelSpec) -> PretrainedConfig:
    """The configuration that ships for a known model, else the model's own."""
    shipped = MODEL_CONFIGS / f"{spec.id}.json"
    if shipped.is_file():
        settings = json.loads(shipped.read_text(encoding="utf-8"))
        return AutoConfig.for_model(settings.pop("model_type"), **settings)
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(spec.source)
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(f"base model '{spec.id}': no configuration in '{spec.source}': {reason}") from error
    return config


def _linear_parameters(base: PreTrainedModel) -> int:
    """Weights of the linear layers but the head: what NF4 loading quantizes."""
    head = base.get_output_embeddings()
    layers = (layer for layer in base.modules() if isinstance(layer, torch.nn.Linear) and layer is not head)
    return sum(layer.weight.numel() for layer in layers)


def _memory_gib(
    recipe: Recipe, config: PretrainedConfig, total: int, quantized: int, trainable: int
) -> dict[str, float]:
    """Of one worker, at the longest sample that the recipe admits."""
    width = 2 if recipe.precision == "bf16" else 4  # bytes of a base weight or an activation
    length = min(recipe.max_tokens or config.max_position_embeddings, config.max_position_embeddings)
    tokens = recipe.batch_size * length
    copies = 3 if recipe.resources.workers > 1 else 2  # weight, gradient, and DDP's bucket
    whole_layer = _layer_bytes(recipe, config, length, width)
    boundary = tokens * config.hidden_size * width
    layers = config.num_hidden_layers
    checkpointed, full = layers * boundary + whole_layer, layers * whole_layer
    parts = {
        "base_weights": quantized * _NF4_BITS / 8 + (total - quantized) * width,
        "adapter_and_gradients": trainable * 4 * copies,
        "optimizer": trainable * _OPTIMIZER_BYTES[recipe.optimizer.name],
        "activations": checkpointed if recipe.activation_checkpointing else full,
        "logits": recipe.batch_size * (_LABEL_TOKENS + 1) * config.vocab_size * (width + 8),
        "dequantized_layer": config.hidden_size * config.intermediate_size * width if quantized else 0,
    }
    return {part: size / _GIB for part, size in parts.items()} | {"cuda_context": _CUDA_CONTEXT_GIB}


def _layer_bytes(recipe: Recipe, config: PretrainedConfig, length: int, width: int) -> float:
    """What one decoder layer keeps for its backward pass."""
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    queries, keys = config.num_attention_heads * head, config.num_key_value_heads * head
    targets = 7 if isinstance(recipe.lora.target_modules, str) else len(recipe.lora.target_modules)
    per_token = (
        16 * config.hidden_size  # norms in float32, residuals
        + width * (3 * queries + 4 * keys)  # before and after the rotation, and the attention's output
        + width * 4 * config.intermediate_size  # gate, up, activation, product
        + targets * 5 * config.hidden_size  # LoRA's input in float32, and its dropout mask
    )
    scores = 8 * config.num_attention_heads * length**2  # eager attention writes them out
    eager = config.model_type == "gemma2"
    return float(recipe.batch_size * (length * per_token + (scores if eager else 0)))


def table(planned: Plan) -> str:
    """The plan for a person."""
    memory = ((f"memory, {part.replace('_', ' ')}", gib) for part, gib in planned.memory_gib.items())
    rows = [
        ("trainable parameters", f"{planned.trainable_parameters:,} ({planned.trainable_share:.4%})"),
        ("parameters of the base model", f"{planned.total_parameters:,}"),
        ("of them in 4 bits", f"{planned.quantized_parameters:,}"),
        ("samples per step", f"{planned.samples_per_step} on {planned.workers} worker(s)"),
        *((part, f"{gib:.2f} GiB") for part, gib in memory),
    ]
    width = max(len(what) for what, _ in rows)
    return "\n".join([planned.model, *(f"  {what:{width}}  {value}" for what, value in rows)])
