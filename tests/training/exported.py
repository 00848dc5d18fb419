"""Adapters with random weights, exported as training exports them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from captioning.adapters import write_adapter
from captioning.base_models import load_model, resolve
from tests.captioning.helpers import make_manifest


def export(
    base_model: Path | str, folder: Path, *, recipe: dict[str, Any] | None = None, **lora: Any
) -> Path:
    """Write an adapter all of whose trained weights differ from their start; `lora` is peft's LoraConfig."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}
    config = LoraConfig(task_type="CAUSAL_LM", **settings | lora)
    model = get_peft_model(load_model(resolve(str(base_model)), dtype=torch.float32), config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.05 * torch.randn_like(weight))
    return write_adapter(folder, model, make_manifest(str(base_model), recipe=recipe or {"lora": {"r": 4}}))
