# mypy: ignore-errors
from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig


class CogVLMConfig(PretrainedConfig):
    model_type = "cogvlm"

    def __init__(
        self,
        *,
        vocab_size: int = 32,
        hidden_size: int = 16,
        num_hidden_layers: int = 1,
        num_attention_heads: int = 1,
        image_size: int = 32,
        patch_size: int = 16,
        **kwargs: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.image_size = image_size
        self.patch_size = patch_size
        super().__init__(**kwargs)
