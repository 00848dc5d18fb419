"""How much of a device's free memory the engine's cache, and weights taken out of 4 bits, may have."""

from __future__ import annotations

import os

import torch
from transformers import PretrainedConfig, PreTrainedModel

_CACHE_SHARE = 0.5  # of what is free when the model has been loaded
_WEIGHTS_SHARE = 0.5


def affordable_tokens(model: PreTrainedModel) -> int:
    """Tokens whose keys and values have room beside the model."""
    return max(1, int(_CACHE_SHARE * _free_bytes(model.device) / cache_bytes(model.config, model.dtype)))


def cache_bytes(config: PretrainedConfig, dtype: torch.dtype) -> int:
    """Of a token's keys and values, in all layers."""
    text = config.get_text_config()
    heads: int = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    head_size: int = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    layers: int = text.num_hidden_layers
    return 2 * layers * heads * head_size * dtype.itemsize


def has_room(model: PreTrainedModel) -> bool:
    """Whether there is memory for the weights of a 4-bit model in bfloat16."""
    return model.num_parameters() * torch.bfloat16.itemsize <= _WEIGHTS_SHARE * _free_bytes(model.device)


def dequantized(model: PreTrainedModel) -> PreTrainedModel:
    """A 4-bit model with the same weights in bfloat16, in place. Only before the first forward pass."""
    whole: PreTrainedModel = model.dequantize(dtype=torch.bfloat16)
    return whole


def _free_bytes(device: torch.device) -> int:
    """On a CPU half of all memory: what is free there says little, as files are kept in it."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
