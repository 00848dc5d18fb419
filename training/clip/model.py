"""The model in open_clip's own classes, so that its loader reads what we save, and how we train it."""

from __future__ import annotations

from typing import Any

import open_clip
import torch
from torch.nn.functional import normalize
from transformers import PreTrainedTokenizerFast

MEAN, DEVIATION = (0.85, 0.85, 0.85), (0.3, 0.3, 0.3)  # of a channel of 0 to 1: drawings are mostly white


def model_config(
    tokenizer: PreTrainedTokenizerFast,
    *,
    embed_dim: int,
    vision: dict[str, Any],
    text_width: int,
    text_layers: int,
    text_heads: int,
) -> dict[str, Any]:
    """What open_clip calls `model_cfg`."""
    text = {
        "context_length": tokenizer.model_max_length,
        "vocab_size": len(tokenizer),
        "hf_tokenizer_name": "here",  # any name: of a local folder the tokenizer beside it is read
        "width": text_width,
        "heads": text_heads,
        "layers": text_layers,
        "pool_type": "eos",
        "eos_id": tokenizer.eos_token_id,
        "pad_id": tokenizer.pad_token_id,
    }
    return {"embed_dim": embed_dim, "vision_cfg": vision, "text_cfg": text}


def preprocess_config() -> dict[str, Any]:
    """What open_clip calls `preprocess_cfg`; the size is the model's own."""
    return {"mean": MEAN, "std": DEVIATION, "interpolation": "bicubic"}


def new_model(config: dict[str, Any], seed: int) -> Any:
    torch.manual_seed(seed)
    return open_clip.CLIP(**config)


def as_input(pixels: torch.Tensor) -> torch.Tensor:
    """From (n, size, size, 3) of 0 to 255 to (n, 3, size, size), as open_clip's own transform has it."""
    scaled = pixels.permute(0, 3, 1, 2).float() / 255
    return (scaled - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(DEVIATION).view(3, 1, 1)


def picture_features(model: Any, inputs: torch.Tensor) -> torch.Tensor:
    """Shape (n, d), of length 1."""
    return normalize(model.visual(inputs).float(), dim=-1)


def text_features(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Shape (n, d), of length 1: `model.encode_text`, for fewer than its whole context of tokens.

    No token sees those behind it, so that what stands behind the end token does not matter.
    """
    width = tokens.shape[1]
    hidden = model.token_embedding(tokens) + model.positional_embedding[:width]  # (n, width, d)
    hidden = model.transformer(hidden, attn_mask=model.attn_mask[:width, :width])
    ends = (tokens == model.text_eos_id).int().argmax(dim=1)
    last = model.ln_final(hidden)[torch.arange(len(tokens)), ends]
    return normalize((last @ model.text_projection).float(), dim=-1)
