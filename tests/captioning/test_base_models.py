from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from captioning.base_models import (
    BASE_MODELS,
    BaseModelSpec,
    auto_dtype,
    load_model,
    load_tokenizer,
    resolve,
    weight_fingerprint,
)
from captioning.errors import ConfigError
from captioning.prompt import prompt_ids


def copy_of(folder: Path, target: Path, **changes: Any) -> Path:
    """A copy of a model folder with other settings in its config.json."""
    shutil.copytree(folder, target)
    config = json.loads((target / "config.json").read_text()) | changes
    (target / "config.json").write_text(json.dumps(config))
    return target


def test_names_folders_and_hub_ids_resolve(llama: Path, gemma: Path) -> None:
    assert resolve("llama-3.1-8b").source == "meta-llama/Llama-3.1-8B-Instruct"
    assert resolve("gemma-2-9b").attn_implementation == "eager"
    assert resolve(BASE_MODELS["embedded"].source) is BASE_MODELS["embedded"]
    assert resolve("org/model-1.2") == BaseModelSpec("org/model-1.2", "org/model-1.2", "sdpa", None)
    assert resolve(str(llama)) == BaseModelSpec("tiny-llama", str(llama), "sdpa", 1024)
    assert resolve(str(gemma)).attn_implementation == "eager"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("embeded", "Did you mean 'embedded'"),
        ("a/b/c", "a local folder, or a Hugging Face id"),
        ("../x", "no base"),
    ],
)
def test_other_names_are_refused(name: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        resolve(name)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.json cannot be read"):
        resolve(str(tmp_path))


@pytest.mark.parametrize("family", ["llama", "gemma"])
def test_a_model_keeps_its_type_or_takes_another(family: str, request: pytest.FixtureRequest) -> None:
    spec = resolve(str(request.getfixturevalue(family)))
    model = load_model(spec)
    assert model.dtype == torch.float32
    assert not model.training
    assert model.config._attn_implementation == spec.attn_implementation
    assert load_model(spec, dtype=torch.bfloat16).dtype == torch.bfloat16


def test_a_gemma_2_from_the_hub_runs_eager_too(gemma: Path) -> None:
    unknowing = BaseModelSpec("org/gemma", str(gemma), "sdpa")
    assert load_model(unknowing).config._attn_implementation == "eager"


def test_the_hub_out_of_reach_says_what_to_do() -> None:
    for load in (load_tokenizer, load_model, weight_fingerprint):
        with pytest.raises(ConfigError, match=r"'nobody/nothing' cannot be had.*HF_TOKEN.*give its folder"):
            load(resolve("nobody/nothing"))


def test_missing_files_are_named(llama: Path, tmp_path: Path) -> None:
    folder = copy_of(llama, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    (folder / "tokenizer_config.json").unlink()
    spec = resolve(str(folder))
    with pytest.raises(ConfigError, match=r"lacks \*\.safetensors"):
        load_model(spec)
    with pytest.raises(ConfigError, match=r"lacks tokenizer_config\.json"):
        load_tokenizer(spec)


def test_pickled_weights_are_not_read(llama: Path, tmp_path: Path) -> None:
    folder = copy_of(llama, tmp_path / "model")
    torch.save(load_model(resolve(str(llama))).state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"lacks \*\.safetensors"):
        load_model(resolve(str(folder)))


def test_code_in_a_model_folder_is_not_run(llama: Path, tmp_path: Path) -> None:
    names = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
    folder = copy_of(llama, tmp_path / "model", model_type="own", auto_map=names)
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        load_model(resolve(str(folder)))
    assert not (tmp_path / "ran").exists()


def test_the_fingerprint_follows_the_weights(llama: Path, gemma: Path, tmp_path: Path) -> None:
    original = weight_fingerprint(resolve(str(llama)))
    copy = copy_of(llama, tmp_path / "other-name", max_position_embeddings=77)
    weights = copy / "model.safetensors"
    assert weight_fingerprint(resolve(str(copy))) == original
    assert weight_fingerprint(resolve(str(gemma))) != original
    content = weights.read_bytes()
    for changed in (content[:-1] + b"x", content + b"x", content[:-1]):
        weights.write_bytes(changed)
        assert weight_fingerprint(resolve(str(copy))) != original


def nf4_with_lora(folder: Path) -> Any:
    torch.manual_seed(0)
    model = load_model(resolve(str(folder)), dtype=torch.float32, quantization="nf4")
    config = LoraConfig(
        r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM"
    )
    return get_peft_model(model, config)


@pytest.mark.parametrize("family", ["llama", "gemma"])
def test_evaluation_does_not_spoil_the_gradients_of_4_bit_training(
    family: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(family)
    ids = torch.tensor([prompt_ids(load_tokenizer(resolve(str(folder))), "<svg/>")])

    def gradients(model: Any) -> list[torch.Tensor]:
        model.train().zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        return [weight.grad.clone() for weight in model.parameters() if weight.requires_grad]

    model = nf4_with_lora(folder)
    before = gradients(model)
    with torch.no_grad():
        evaluated = model.eval()(input_ids=ids, labels=ids).loss
    assert torch.isfinite(evaluated)
    assert all(torch.equal(*pair) for pair in zip(before, gradients(model), strict=True))


def test_4_bits_are_near_the_full_weights(llama: Path) -> None:
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn.modules import Linear4bit

    full = dict(load_model(resolve(str(llama))).named_modules())
    model = load_model(resolve(str(llama)), dtype=torch.float32, quantization="nf4")
    layers = {name: module for name, module in model.named_modules() if isinstance(module, Linear4bit)}
    assert len(layers) == 2 * 7  # all linear layers but the head
    for name, layer in layers.items():
        packed: Any = layer.weight
        weight = dequantize_4bit(packed.data, packed.quant_state)
        original: Any = full[name]
        assert (weight - original.weight).norm() < 0.15 * original.weight.norm()


@pytest.mark.parametrize(
    ("feature", "dtype"),
    [("avx2", torch.float32), ("amx_bf16", torch.bfloat16), ("avx512_bf16", torch.bfloat16)],
)
def test_the_number_type_follows_the_cpu(
    feature: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {feature: True})
    assert auto_dtype("cpu") == dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_4_bit_layers_calculate_in_the_type_of_the_rest(llama: Path, dtype: torch.dtype) -> None:
    model = load_model(resolve(str(llama)), dtype=dtype, quantization="nf4")
    layers = [module for module in model.modules() if type(module).__name__ == "Linear4bit"]
    assert {layer.compute_dtype for layer in layers} == {dtype}
