from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from peft import PeftModel
from peft.tuners.lora.bnb import Linear4bit as LoraLinear4bit
from torch import Tensor, nn

from captioning.base_models import load_model, resolve
from captioning.errors import ConfigError
from tests.training.helpers import examples, recipe_for
from training import model
from training.data import collate
from training.loftq import Originals, low_rank

EMBEDDED = Path(resolve("embedded").source)


def _build(base: Path, *, quantization: str = "nf4", **lora: Any) -> PeftModel:
    recipe = recipe_for(base, quantization=quantization, precision="fp32", lora=lora)
    return model.build(recipe, resolve(str(base)), "cpu")


def _logits(network: nn.Module, base: Path) -> Tensor:
    batch = collate(examples(base, 4))
    with torch.no_grad():
        logits: Tensor = network.eval()(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, position_ids=batch.position_ids
        ).logits
    return logits[batch.attention_mask.bool()]


def _error(network: nn.Module, base: Path) -> float:
    """Of the logits, relative to those of the full weights."""
    exact = _logits(load_model(resolve(str(base)), dtype=torch.float32), base)
    return float((_logits(network, base) - exact).norm() / exact.norm())


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_gemma2"])
@pytest.mark.parametrize("alpha", [8, 16, 32, 64])
@pytest.mark.parametrize("rslora", [False, True])
def test_it_lowers_the_error_of_the_logits_at_every_scaling(
    family: str, alpha: int, rslora: bool, request: pytest.FixtureRequest
) -> None:
    base = request.getfixturevalue(family)
    plain = _error(_build(base, alpha=alpha, rslora=rslora), base)
    assert _error(_build(base, alpha=alpha, rslora=rslora, init="loftq"), base) < 0.85 * plain


@pytest.mark.parametrize("quantization", ["nf4", "fp4"])
def test_it_lowers_the_error_of_every_trained_weight(quantization: str) -> None:
    spec = resolve(str(EMBEDDED))
    adapted = _build(EMBEDDED, quantization=quantization, target_modules="all-linear", init="loftq")
    layers = {
        name: layer
        for name, layer in adapted.get_base_model().named_modules()
        if isinstance(layer, LoraLinear4bit)
    }
    assert len(layers) == 7 * adapted.config.num_hidden_layers
    for name, layer in layers.items():
        base = cast(Linear4bit, layer.get_base_layer())
        rounded = dequantize_4bit(base.weight.data, base.quant_state).float()
        residual = Originals(spec).read(name, rounded.shape).float() - rounded
        assert (residual - layer.get_delta_weight("default")).norm() < 0.95 * residual.norm()


def test_with_dora_it_begins_as_without(tiny_llama: Path) -> None:
    plain, dora = (_logits(_build(tiny_llama, init="loftq", dora=on), tiny_llama) for on in (False, True))
    torch.testing.assert_close(dora, plain, rtol=1e-4, atol=1e-4)


def test_the_base_stays_the_one_that_is_served(tiny_llama: Path) -> None:
    served = load_model(resolve(str(tiny_llama)), dtype=torch.float32, quantization="nf4")
    adapted = _build(tiny_llama, init="loftq")
    with adapted.disable_adapter():
        assert torch.equal(_logits(adapted, tiny_llama), _logits(served, tiny_llama))


def test_the_same_seed_begins_the_same(tiny_llama: Path) -> None:
    one, other = (model.checksum(model.trainable(_build(tiny_llama, init="loftq"))) for _ in range(2))
    assert one == other


def test_a_rank_beyond_the_layer_is_filled_as_usual(tiny_llama: Path) -> None:
    adapted = _build(tiny_llama, r=80, init="loftq")
    assert _error(adapted, tiny_llama) < 0.8 * _error(_build(tiny_llama, r=80), tiny_llama)
    assert all(weight.isfinite().all() for weight in model.trainable(adapted).values())


def test_the_factors_are_nearly_the_best_of_their_rank() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(96, 200) * torch.logspace(0, 1, 200)
    a, b = low_rank(matrix, 8)
    u, values, vt = torch.linalg.svd(matrix, full_matrices=False)
    best = (u[:, :8] * values[:8]) @ vt[:8]
    assert (a.shape, b.shape) == ((8, 200), (96, 8))
    assert (matrix - b @ a).norm() < 1.001 * (matrix - best).norm()
    torch.testing.assert_close(a.norm(dim=1), b.norm(dim=0), rtol=1e-3, atol=0)  # neither has all the size


def test_weights_in_several_files_are_found(tiny_llama: Path, tmp_path: Path) -> None:
    load_model(resolve(str(tiny_llama))).save_pretrained(tmp_path / "sharded", max_shard_size="60KB")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(tiny_llama / name, tmp_path / "sharded")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 2
    one, other = (
        model.checksum(model.trainable(_build(base, init="loftq")))
        for base in (tiny_llama, tmp_path / "sharded")
    )
    assert one == other


def test_quantized_files_are_refused_before_anything_is_loaded(tiny_llama: Path, tmp_path: Path) -> None:
    folder = tmp_path / "quantized"
    quantized = load_model(resolve(str(tiny_llama)), dtype=torch.float32, quantization="nf4")
    quantized.save_pretrained(folder)
    recipe = recipe_for(folder, lora={"init": "loftq"})
    assert "quantization_config" in json.loads((folder / "config.json").read_text())
    with pytest.raises(ConfigError, match=r"files hold '.*q_proj\.weight' quantized, as torch\.uint8"):
        model.check(recipe, resolve(str(folder)))
    model.check(recipe_for(tiny_llama, lora={"init": "loftq"}), resolve(str(tiny_llama)))
