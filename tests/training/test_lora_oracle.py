"""What peft, and the engine, make of an exported adapter is what the formula says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from captioning.adapter_fit import AdapterFit
from captioning.adapters import read_weights, write_adapter
from captioning.base_models import Quantization, load_model, resolve
from captioning.lora_bank import LoraBank
from tests.captioning.helpers import make_manifest
from tests.training import lora_oracle
from tests.training.helpers import examples
from training import model
from training.data import collate
from training.recipe import Lora

families = pytest.mark.parametrize("family", ["tiny_llama", "tiny_gemma2"])
scalings = pytest.mark.parametrize("rslora", [False, True], ids=["alpha/r", "rslora"])


@pytest.fixture
def base(family: str, request: pytest.FixtureRequest) -> Path:
    folder: Path = request.getfixturevalue(family)
    return folder


def _load(base: Path, quantization: Quantization | None = None) -> PreTrainedModel:
    return load_model(resolve(str(base)), dtype=torch.float32, quantization=quantization)


def _export(base: Path, folder: Path, **settings: Any) -> Path:
    """Write an adapter all of whose weights are far from where they begin."""
    lora = Lora.model_validate({"r": 8, "target_modules": "all-linear"} | settings)
    torch.manual_seed(1)
    adapted = model.with_lora(_load(base), lora)
    for weight in model.trainable(adapted).values():
        weight.data += 0.05 * torch.randn_like(weight)
    return write_adapter(folder / "adapter", adapted, make_manifest(str(base)))


def _logits(network: nn.Module, base: Path) -> Tensor:
    """At all positions of two samples of different length that hold a token."""
    batch = collate(examples(base, 2))
    with torch.no_grad():
        logits: Tensor = network(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, position_ids=batch.position_ids
        ).logits
    return logits[batch.attention_mask.bool()]


def _assert_same(logits: Tensor, expected: Tensor) -> None:
    """But for the order of sums in float32: the logits are of size 1 to 100."""
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=2e-4)


@families
@scalings
@pytest.mark.parametrize(
    "settings", [{}, {"dora": True}, {"modules_to_save": ("norm",)}], ids=["lora", "dora", "norm"]
)
def test_peft_follows_the_formula_merged_and_unmerged(
    settings: dict[str, Any], rslora: bool, base: Path, tmp_path: Path
) -> None:
    folder = _export(base, tmp_path, rslora=rslora, **settings)
    expected = _logits(lora_oracle.apply(_load(base), folder), base)
    assert (expected - _logits(_load(base), base)).abs().max() > 0.5
    adapted = PeftModel.from_pretrained(_load(base), str(folder))
    _assert_same(_logits(adapted, base), expected)
    merged: Any = adapted.merge_and_unload()
    _assert_same(_logits(merged, base), expected)


@families
@scalings
@pytest.mark.parametrize("quantization", [None, "nf4", "fp4", "int8"])
def test_the_engine_follows_the_formula(
    quantization: Quantization | None, rslora: bool, base: Path, tmp_path: Path
) -> None:
    folder = _export(base, tmp_path, rslora=rslora)
    expected = _logits(lora_oracle.apply(_load(base, quantization), folder), base)
    served = _load(base, quantization)
    LoraBank(served).route([AdapterFit(served).lora(read_weights(folder))] * 2)
    _assert_same(_logits(served, base), expected)


@families
def test_rank_stabilized_scaling_is_told_from_the_plain_one(base: Path, tmp_path: Path) -> None:
    plain, stabilized = (
        _logits(lora_oracle.apply(_load(base), _export(base, tmp_path / str(rslora), rslora=rslora)), base)
        for rslora in (False, True)
    )
    assert (plain - stabilized).abs().max() > 0.5


def test_the_scalings_are_those_of_the_papers() -> None:
    settings = {"lora_alpha": 32, "r": 16}
    assert lora_oracle.scaling_of(settings | {"use_rslora": False}) == 2
    assert lora_oracle.scaling_of(settings | {"use_rslora": True}) == 8
