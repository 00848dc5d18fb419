"""Random adapters for tests, and what others write with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from captioning.adapters import Manifest, library_versions, write_adapter
from captioning.base_models import load_model, load_tokenizer, resolve, weight_fingerprint
from captioning.generation import GenerationRequest
from captioning.prompt import PROMPT_VERSION, clean_caption
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


def plain_texts(base: Path, folders: dict[str, Path], requests: Sequence[GenerationRequest]) -> list[str]:
    """What transformers and peft write, one request at a time."""
    tokenizer: Any = load_tokenizer(resolve(str(base)))
    model: Any = load_model(resolve(str(base)), dtype=torch.float32)
    adapted: Any = None
    for name, folder in folders.items():
        if adapted is None:
            adapted = PeftModel.from_pretrained(model, str(folder), adapter_name=name).eval()
        else:
            adapted.load_adapter(str(folder), adapter_name=name)

    def written(request: GenerationRequest) -> str:
        ids = torch.tensor([request.prompt_ids])
        options = {"max_new_tokens": request.max_new_tokens, "do_sample": False}
        mask = torch.ones_like(ids)
        if request.adapter is None:
            with adapted.disable_adapter():
                output = adapted.generate(input_ids=ids, attention_mask=mask, **options)
        else:
            adapted.set_adapter(request.adapter)
            output = adapted.generate(input_ids=ids, attention_mask=mask, **options)
        return clean_caption(tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True))

    return [written(request) for request in requests]
