"""CogVLM (Wang et al., 2023), by the Python code that is published with its weights.

That code is old: it needs an older transformers than ours, which actors get by the suite's `packages`, so
nothing here and in what it imports may need a newer one. It runs with all rights of the process.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForCausalLM, LlamaTokenizer

from captioning.prompt import clean_caption
from evaluation.captioners.pixels import Describe
from evaluation.captioners.server import INSTRUCTION
from evaluation.errors import Unavailable
from evaluation.models import model_folder

_MODEL_FILES = ("*.json", "*.py", "*.safetensors")
_TOKENIZER_FILES = ("*.json", "tokenizer.model")


def load_cogvlm(
    source: str,
    *,
    revision: str | None,
    tokenizer: str,
    max_new_tokens: int = 64,
    device: str = "cpu",
) -> Describe:
    """CogVLM's chat without a history, decoded greedily as its authors publish it, one picture at a time.

    `source` and `tokenizer` are folders or hub ids, `revision` the hub's commit of `source`.

    Raises:
        Unavailable: no such weights, code that lies elsewhere, or code that fails with these packages.
    """
    folder = model_folder(source, _MODEL_FILES, revision)
    _check_code(source, folder)
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    words = model_folder(tokenizer, _TOKENIZER_FILES)
    try:
        vocabulary = LlamaTokenizer.from_pretrained(words)
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, trust_remote_code=True, torch_dtype=dtype, device_map={"": device}
        ).eval()
    except Exception as error:  # noqa: BLE001 - whatever the published code raises
        raise Unavailable(f"'{source}' cannot be loaded: {type(error).__name__}: {error}") from None

    @torch.inference_mode()
    def caption(picture: Image.Image) -> str:
        parts = model.build_conversation_input_ids(
            vocabulary, query=INSTRUCTION, history=[], images=[picture]
        )
        inputs = {
            name: parts[name].unsqueeze(0).to(device)
            for name in ("input_ids", "token_type_ids", "attention_mask")
        }
        images = [[image.to(device, dtype) for image in parts["images"]]]
        tokens = model.generate(**inputs, images=images, max_new_tokens=max_new_tokens, do_sample=False)
        written = tokens[0, inputs["input_ids"].shape[1] :]
        return clean_caption(str(vocabulary.decode(written, skip_special_tokens=True)))

    def describe(pictures: Sequence[Image.Image]) -> list[str]:
        try:
            return [caption(picture) for picture in pictures]
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise RuntimeError(f"{type(error).__name__}: {error}") from error

    return describe


def _check_code(source: str, folder: Path) -> None:
    """Refuse a model whose config takes code from another repository, of which no revision is pinned."""
    try:
        names = json.loads((folder / "config.json").read_bytes())["auto_map"]
    except (OSError, ValueError, LookupError) as error:
        raise Unavailable(f"'{source}' has no code of its own: {type(error).__name__}: {error}") from None
    if foreign := [name for name in names.values() if "--" in str(name)]:
        raise Unavailable(
            f"'{source}' takes its code from elsewhere, where no revision is pinned: {foreign[0]}"
        )
