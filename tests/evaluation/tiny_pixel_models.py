"""Random CLIP, BLIP, ViT-GPT2 and CogVLM models of a few thousand weights, as they are published.

Published long ago, BLIP and ViT-GPT2 come with a `preprocessor_config.json` of that time, and
ViT-GPT2 with pickled weights only; CogVLM comes with Python code, its tokenizer in SentencePiece's format.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Tokenizer,
    LlamaTokenizer,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTModel,
)

from tests.evaluation.cogvlm_code.configuration_cogvlm import CogVLMConfig
from tests.evaluation.cogvlm_code.modeling_cogvlm import CogVLMForCausalLM

CODE = Path(__file__).with_name("cogvlm_code")
IMAGE_SIZE_PX = 32
_WORDS = "a red green blue circle square icon of an on the white ground drawing".split()
_VISION: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": IMAGE_SIZE_PX,
    "patch_size": 8,
}

CLIP_CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {
        "image_size": IMAGE_SIZE_PX,
        "layers": 1,
        "width": 16,
        "patch_size": 8,
        "head_width": 8,
    },
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


def make_tiny_clip(folder: Path, *, seed: int = 2) -> Path:
    """What open_clip's `local-dir:` reads. With this seed some cosines are positive and some negative."""
    torch.manual_seed(seed)
    model = open_clip.CLIP(**CLIP_CONFIG)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    config = {"model_cfg": CLIP_CONFIG, "preprocess_cfg": {"interpolation": "bicubic"}}
    _write_json(folder / "open_clip_config.json", config)
    return folder


def make_tiny_blip(folder: Path, *, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]")
    tokenizer = BertTokenizer(vocab={word: index for index, word in enumerate((*special, *_WORDS))})
    text = _VISION | {
        "vocab_size": len(tokenizer),
        "encoder_hidden_size": 16,
        "bos_token_id": special.index("[DEC]"),
        "eos_token_id": special.index("[SEP]"),
        "sep_token_id": special.index("[SEP]"),
        "pad_token_id": special.index("[PAD]"),
        "initializer_range": 0.5,
    }
    model = BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=_VISION))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "BlipImageProcessor",
            "processor_class": "BlipProcessor",
            "size": {"height": IMAGE_SIZE_PX, "width": IMAGE_SIZE_PX},
            "size_divisor": 32,
        },
    )
    return folder


def make_tiny_vit_gpt2(folder: Path, *, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    letters = sorted(ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate((*letters, "<|endoftext|>"))}
    tokenizer = GPT2Tokenizer(vocab=vocabulary, merges=[], pad_token="<|endoftext|>")
    end = vocabulary["<|endoftext|>"]
    decoder = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=16,
        n_layer=1,
        n_head=2,
        n_positions=64,
        bos_token_id=end,
        eos_token_id=end,
        add_cross_attention=True,
        initializer_range=0.5,
    )
    model = VisionEncoderDecoderModel(
        encoder=ViTModel(ViTConfig(**_VISION)), decoder=GPT2LMHeadModel(decoder)
    )
    for config in (model.config, model.generation_config):
        config.decoder_start_token_id = config.eos_token_id = config.pad_token_id = end
    model.config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    tokenizer.save_pretrained(folder)
    _write_json(
        folder / "preprocessor_config.json",
        {"feature_extractor_type": "ViTFeatureExtractor", "size": IMAGE_SIZE_PX},
    )
    return folder


def make_tiny_cogvlm(folder: Path, *, seed: int = 0) -> Path:
    """Weights, the code of `cogvlm_code`, and a tokenizer for both the old and the new way of reading it."""
    letters = [chr(code) for code in range(33, 127)]
    pieces = ["<unk>", "<s>", "</s>", "\u2581", *letters, *(f"\u2581{word}" for word in _WORDS)]
    torch.manual_seed(seed)
    model = CogVLMForCausalLM(CogVLMConfig(vocab_size=len(pieces)))
    for weights in model.parameters():
        torch.nn.init.normal_(weights)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), folder / "model.safetensors", {"format": "pt"})
    _write_json(
        folder / "config.json",
        {
            "architectures": ["CogVLMForCausalLM"],
            "auto_map": {
                "AutoConfig": "configuration_cogvlm.CogVLMConfig",
                "AutoModelForCausalLM": "modeling_cogvlm.CogVLMForCausalLM",
            },
            "vocab_size": len(pieces),
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": 0,
            "torch_dtype": "bfloat16",
        },
    )
    for path in CODE.glob("*_cogvlm.py"):
        shutil.copy(path, folder)
    LlamaTokenizer(vocab={piece: index for index, piece in enumerate(pieces)}, merges=[]).save_pretrained(
        folder
    )
    (folder / "tokenizer.model").write_bytes(_sentencepiece(pieces))
    _write_json(folder / "tokenizer_config.json", {"tokenizer_class": "LlamaTokenizer", "legacy": False})
    return folder


def _sentencepiece(pieces: Sequence[str]) -> bytes:
    """A model of these pieces, of which the first are <unk>, <s> and </s>."""
    model = import_module("transformers.utils.sentencepiece_model_pb2_new").ModelProto()
    for index, piece in enumerate(pieces):
        kind = {0: "UNKNOWN", 1: "CONTROL", 2: "CONTROL"}.get(index, "NORMAL")
        model.pieces.add(piece=piece, score=-float(index), type=kind)
    model.trainer_spec.model_type = model.trainer_spec.BPE
    model.normalizer_spec.name = "identity"
    return bytes(model.SerializeToString())


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
