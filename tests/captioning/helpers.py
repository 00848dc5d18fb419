"""Random adapters for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from captioning.adapters import Manifest, library_versions, write_adapter
from captioning.base_models import load_model, resolve, weight_fingerprint
from captioning.prompt import PROMPT_VERSION
from rendering import CANONICALIZER_VERSION


def make_manifest(base: str, adapter_id: str = "icons", **changes: Any) -> Manifest:
    spec = resolve(base)
    fields: dict[str, Any] = {
        "adapter_id": adapter_id,
        "base_model": spec.id,
        "base_fingerprint": weight_fingerprint(spec),
        "prompt_version": PROMPT_VERSION,
        "canonicalizer_version": CANONICALIZER_VERSION,
        "recipe": {"lora": {"r": 4}},
        "corpus_fingerprint": "sha256:0",
        "metrics": {"validation_loss": 0.5},
        "library_versions": library_versions(),
        "created": "2025-01-31T12:00:00Z",
    }
    return Manifest(**fields | changes)


def make_adapter(
    base_model: Path,
    folder: Path,
    adapter_id: str = "icons",
    *,
    r: int = 4,
    seed: int = 0,
    modules: Sequence[str] = ("q_proj", "v_proj"),
) -> Path:
    """Write an adapter whose random weights change every answer of the base model."""
    torch.manual_seed(seed)
    config = LoraConfig(
        r=r, lora_alpha=8, target_modules=list(modules), init_lora_weights=False, task_type="CAUSAL_LM"
    )
    model = get_peft_model(load_model(resolve(str(base_model)), dtype=torch.float32), config)
    return write_adapter(folder, model, make_manifest(str(base_model), adapter_id))
