"""Models of a known shape with random weights, and samples of real lengths, for machines without a network.

Speed and memory depend on shapes and lengths alone; what such a model learns means nothing.
"""

from __future__ import annotations

import json
import random
import shutil
from array import array
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import captioning
from captioning.errors import ConfigError
from training.data import Example, Tokenized

_SUFFIX = "-shaped"
_CONFIGS = Path("training/model_configs")
_EMBEDDED = Path(captioning.__file__).parent / "embedded"

# Canonical text of 1,250 icons, 250 of each family of `training.corpora.icons`, in tokens of Llama 3:
# the quantiles 0, 5, 10 ... 100 %.
_ICON_TOKENS = (
    *(30, 82, 98, 111, 122, 134, 145, 155, 165, 175, 186),
    *(196, 211, 226, 241, 265, 286, 320, 374, 446, 974),
)  # fmt: skip
_TEMPLATE_TOKENS = 60  # Llama 3.1's chat template with the instruction
_CAPTION_TOKENS = (8, 24)  # from, to
_IDS = range(4_000)  # every vocabulary has these, and none of them controls anything


def is_shaped(name: str) -> bool:
    return name.endswith(_SUFFIX)


def save_shaped(name: str, folder: Path, device: str) -> Path:
    """Draw bfloat16 weights on the device and save them, with the embedded model's tokenizer.

    Raises:
        ConfigError: there is no configuration of that name.
    """
    config_file = _CONFIGS / f"{name.removesuffix(_SUFFIX)}.json"
    if not is_shaped(name) or not config_file.is_file():
        known = ", ".join(f"{path.stem}{_SUFFIX}" for path in sorted(_CONFIGS.glob("*.json")))
        raise ConfigError(f"no model '{name}'. It is one of embedded, {known}.")
    settings = json.loads(config_file.read_text(encoding="utf-8"))
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    target = folder / name
    with torch.device(device):
        AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(target)
    for file in _EMBEDDED.glob("*token*"):
        shutil.copy(file, target)
    return target


def random_examples(number: int, *, seed: int) -> Tokenized:
    """Random token ids, as many as icons' prompts and their captions have."""
    rng = random.Random(seed)
    return Tokenized([_example(str(index), rng) for index in range(number)])


def _example(name: str, rng: random.Random) -> Example:
    svg_tokens = int(np.interp(rng.uniform(0, 20), range(21), _ICON_TOKENS))
    prompt = array("i", rng.choices(_IDS, k=_TEMPLATE_TOKENS + svg_tokens))
    return Example(name, prompt, [array("i", rng.choices(_IDS, k=rng.randint(*_CAPTION_TOKENS)))])
