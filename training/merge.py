"""An adapter merged into its base model's weights: an ordinary model folder that needs no peft.

Merged are the weights as they were saved, never ones that went through 4 bits: those would be rounded
twice. At most the model itself is in memory, and one layer more.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file
from transformers import PreTrainedModel

from captioning.adapter_fit import check_tensors
from captioning.adapters import (
    CARD_FILE,
    WEIGHTS_FILE,
    Manifest,
    check_compatible,
    read_manifest,
    warn_of_quantization,
)
from captioning.atomic import replacing
from captioning.base_models import BaseModelSpec, load_model, load_tokenizer, resolve, weight_fingerprint
from captioning.errors import AdapterError, ConfigError
from captioning.model_card import MERGED_FILE, merged_card

Dtype = Literal["bfloat16", "float32", "saved"]

_SHARD_SIZE = "5GB"


@dataclass(frozen=True)
class Merged:
    folder: Path
    adapter: str  # its id
    base_model: str
    dtype: str
    parameters: int


def merge(
    adapter: Path, out: Path, *, base_model: str | None = None, dtype: Dtype = "bfloat16", force: bool = False
) -> Merged:
    """Write `out`, whole or not at all. `saved` keeps the number type of the base model's own files.

    Raises:
        ConfigError: `out` is in the way, or the base model is not to be had.
        AdapterError: the adapter is broken, or was trained on other weights or prompts.
    """
    manifest = read_manifest(adapter)
    _check_target(out, force)
    spec = _base(manifest, base_model)
    check_compatible(manifest, spec, weight_fingerprint(spec))
    warn_of_quantization(manifest, None)
    model = _merged(spec, adapter, dtype)
    _check_space(model, out)
    with replacing(out) as folder:
        _write(folder, model, spec, manifest)
    name = str(model.dtype).removeprefix("torch.")
    return Merged(out, manifest.adapter_id, spec.id, name, model.num_parameters())


def _merged(spec: BaseModelSpec, adapter: Path, dtype: Dtype) -> PreTrainedModel:
    base = load_model(spec, dtype=torch.float32 if dtype == "float32" else None)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*tie_word_embeddings")  # `_untie` and peft see to it
        try:
            adapted = PeftModel.from_pretrained(base, str(adapter))
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]  # peft lists every tensor
            raise AdapterError(f"'{adapter}' does not fit base model '{spec.id}': {reason}") from error
        check_tensors(adapted, "default", load_file(adapter / WEIGHTS_FILE))
        _untie(adapted)
        merged: PreTrainedModel = adapted.merge_and_unload()
    return merged.bfloat16() if dtype == "bfloat16" else merged


def _untie(model: PeftModel) -> None:
    """Part a weight that is merged into from the one it is tied to, which must not change with it."""
    uses = Counter(id(weight) for _, weight in model.named_parameters(remove_duplicate=False))
    layers: list[Any] = [module for module in model.modules() if isinstance(module, LoraLayer)]
    for own in (layer.get_base_layer() for layer in layers):
        if uses[id(own.weight)] > 1:
            own.weight = torch.nn.Parameter(own.weight.detach().clone(), requires_grad=False)


def _write(folder: Path, model: PreTrainedModel, spec: BaseModelSpec, manifest: Manifest) -> None:
    model.save_pretrained(folder, max_shard_size=_SHARD_SIZE)
    load_tokenizer(spec).save_pretrained(folder)
    dtype = str(model.dtype).removeprefix("torch.")
    (folder / CARD_FILE).write_text(merged_card(manifest, dtype), encoding="utf-8")
    facts = {"adapter": manifest.model_dump(), "dtype": dtype}
    (folder / MERGED_FILE).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    for shard in folder.glob("*.safetensors"):  # written so that nobody else may read them
        shutil.copymode(folder / CARD_FILE, shard)


def _base(manifest: Manifest, base_model: str | None) -> BaseModelSpec:
    try:
        return resolve(base_model or manifest.base_model)
    except ConfigError:
        if base_model:
            raise
        raise ConfigError(
            f"adapter '{manifest.adapter_id}' was trained on '{manifest.base_model}', which is not to be "
            "found under that name. Give its folder or Hugging Face id with --base."
        ) from None


def _check_target(out: Path, force: bool) -> None:
    if not out.exists():
        return
    if not force:
        raise ConfigError(f"'{out}' exists. Give another folder, or --force to replace a merged model.")
    if not out.is_dir() or (any(out.iterdir()) and not (out / MERGED_FILE).exists()):
        raise ConfigError(f"'{out}' is no merged model, --force does not replace it. Give another folder.")


def _check_space(model: PreTrainedModel, out: Path) -> None:
    needed = model.num_parameters() * model.dtype.itemsize
    parent = next(folder for folder in out.absolute().parents if folder.exists())
    if (free := shutil.disk_usage(parent).free) < needed:
        raise ConfigError(
            f"'{out}' needs {needed / 1e9:,.1f} GB, '{parent}' has {free / 1e9:,.1f} GB free. "
            "Give a folder on a larger disk."
        )
