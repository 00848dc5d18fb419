from __future__ import annotations

import json
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from peft import PeftModel
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from captioning.adapters import read_manifest
from captioning.base_models import load_model, load_tokenizer, resolve
from captioning.engine import Engine
from captioning.errors import AdapterError, ConfigError
from captioning.prompt import prompt_ids
from tests.training.exported import export
from tests.training.helpers import samples
from training.merge import merge

# Every kind of adapter that recipes make; "tied" is what a tied weight must be parted from.
KINDS: dict[str, dict[str, Any]] = {
    "lora": {},
    "all-linear": {"target_modules": "all-linear"},
    "rslora": {"use_rslora": True, "lora_alpha": 3},
    "dora": {"use_dora": True},
    "head": {"modules_to_save": ["lm_head"]},
    "embeddings": {"modules_to_save": ["embed_tokens"]},
    "lora on a head": {"target_modules": ["q_proj", "lm_head"]},
    "lora on embeddings": {"target_modules": ["q_proj", "embed_tokens"]},
}
UNTIED = ("head", "embeddings", "lora on a head", "lora on embeddings")

IDS = torch.arange(40)[None]  # (1, 40)

pytestmark = pytest.mark.filterwarnings("ignore:.*tie_word_embeddings")


@pytest.fixture
def adapter(tiny_llama: Path, tmp_path: Path) -> Path:
    return export(tiny_llama, tmp_path / "icons")


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    result: torch.Tensor = model.eval()(IDS).logits.float()
    return result


def adapted(base: Path, adapter: Path, dtype: torch.dtype = torch.float32) -> PeftModel:
    return PeftModel.from_pretrained(load_model(resolve(str(base)), dtype=dtype), str(adapter))


def attention(base: Path) -> str:
    return resolve(str(base)).attn_implementation


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_gemma2"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_computes_what_base_and_adapter_compute(
    family: str, kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    base: Path = request.getfixturevalue(family)
    adapter = export(base, tmp_path / "adapter", **KINDS[kind])
    merge(adapter, tmp_path / "out", base_model=str(base), dtype="float32")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "out", attn_implementation=attention(base))
    expected = logits(adapted(base, adapter))
    torch.testing.assert_close(logits(plain), expected, atol=1e-3, rtol=1e-4)
    assert (logits(load_model(resolve(str(base)))) - expected).abs().max() > 0.1
    assert plain.config.tie_word_embeddings == (family == "tiny_gemma2" and kind not in UNTIED)


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_gemma2"])
def test_the_engine_serves_it_and_writes_the_adapters_captions(
    family: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    base: Path = request.getfixturevalue(family)
    adapter = export(base, tmp_path / "adapter")
    merge(adapter, tmp_path / "out", base_model=str(base), dtype="float32")
    before = Engine.load(str(base), dtype="float32", device="cpu")
    before.load_adapter(adapter)
    after = Engine.load(str(tmp_path / "out"), dtype="float32", device="cpu")
    assert captions(after, None) == captions(before, "icons") != captions(before, None)


def captions(engine: Engine, adapter: str | None) -> Sequence[object]:
    return engine.caption([sample.svg for sample in samples(4)], adapter=adapter, max_new_tokens=12)


def test_bfloat16_rounds_each_merged_weight_once(tiny_llama: Path, adapter: Path, tmp_path: Path) -> None:
    merged = merge(adapter, tmp_path / "out", base_model=str(tiny_llama))
    exact = dict(adapted(tiny_llama, adapter).merge_and_unload().named_parameters())
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as weights:
        assert all(torch.equal(weights.get_tensor(name), exact[name].bfloat16()) for name in weights.keys())  # noqa: SIM118
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == merged.dtype == "bfloat16"
    engine = Engine.load(str(tmp_path / "out"), dtype="bfloat16", device="cpu")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert plain.dtype == torch.bfloat16
    assert torch.equal(logits(engine._model), logits(plain))


def test_the_saved_number_type_can_be_kept(tmp_path: Path) -> None:
    adapter = export("embedded", tmp_path / "adapter")
    assert merge(adapter, tmp_path / "saved", dtype="saved").dtype == "bfloat16"
    assert merge(adapter, tmp_path / "wide", dtype="float32").dtype == "float32"
    wide = AutoModelForCausalLM.from_pretrained(tmp_path / "wide")
    base = PeftModel.from_pretrained(load_model(resolve("embedded"), dtype=torch.float32), str(adapter))
    torch.testing.assert_close(logits(wide), logits(base), atol=1e-3, rtol=1e-4)


def test_the_folder_is_that_of_an_ordinary_model(tiny_llama: Path, adapter: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    merged = merge(adapter, out, base_model=str(tiny_llama))
    assert {path.name for path in out.iterdir()} == {
        "README.md",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "merged_from.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert all(path.stat().st_mode & stat.S_IROTH for path in out.iterdir())
    facts = json.loads((out / "merged_from.json").read_text())
    assert facts == {"adapter": read_manifest(adapter).model_dump(), "dtype": "bfloat16"}
    card: Any = ModelCard.load(out / "README.md").data
    assert card.base_model == merged.base_model == "tiny-llama"
    before, after = load_tokenizer(resolve(str(tiny_llama))), AutoTokenizer.from_pretrained(out)
    assert prompt_ids(after, samples(1)[0].svg) == prompt_ids(before, samples(1)[0].svg)


def test_the_embedded_models_own_tokenizer_is_kept(tmp_path: Path) -> None:
    merge(export("embedded", tmp_path / "adapter"), tmp_path / "out")
    before, after = load_tokenizer(resolve("embedded")), load_tokenizer(resolve(str(tmp_path / "out")))
    for sample in samples(4):
        assert prompt_ids(after, sample.svg) == prompt_ids(before, sample.svg)


def test_what_is_there_is_replaced_only_when_asked(tiny_llama: Path, adapter: Path, tmp_path: Path) -> None:
    out = tmp_path / "models" / "out"
    merge(adapter, out, base_model=str(tiny_llama))
    with pytest.raises(ConfigError, match=r"exists.*--force"):
        merge(adapter, out, base_model=str(tiny_llama))
    (out / "notes.txt").touch()
    merge(adapter, out, base_model=str(tiny_llama), force=True)
    assert not (out / "notes.txt").exists()
    assert list(out.parent.iterdir()) == [out]


def test_force_replaces_nothing_but_a_merged_model(tiny_llama: Path, adapter: Path) -> None:
    with pytest.raises(ConfigError, match="no merged model"):
        merge(adapter, adapter, base_model=str(tiny_llama), force=True)
    assert read_manifest(adapter).adapter_id == "icons"


def test_a_failure_leaves_what_was_there(
    tiny_llama: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "models" / "out"
    merge(adapter, out, base_model=str(tiny_llama))
    before = (out / "model.safetensors").read_bytes()

    def full_disk(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("transformers.PreTrainedModel.save_pretrained", full_disk)
    with pytest.raises(OSError, match="no space left"):
        merge(adapter, out, base_model=str(tiny_llama), force=True)
    assert (out / "model.safetensors").read_bytes() == before
    assert list(out.parent.iterdir()) == [out]


def test_only_the_base_model_that_it_was_trained_on_will_do(
    tiny_llama: Path, tiny_gemma2: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # away from a folder of that name
    with pytest.raises(ConfigError, match=r"was trained on 'tiny-llama'.*--base"):
        merge(adapter, tmp_path / "out")
    with pytest.raises(AdapterError, match=r"was trained on 'tiny-llama' \(sha256"):
        merge(adapter, tmp_path / "out", base_model=str(tiny_gemma2))
    (adapter / "adapter_model.safetensors").write_bytes(
        (export(tiny_llama, tmp_path / "other", r=2) / "adapter_model.safetensors").read_bytes()
    )
    with pytest.raises(AdapterError, match=r"'.*icons' does not fit base model 'tiny-llama': .*size"):
        merge(adapter, tmp_path / "out", base_model=str(tiny_llama))
    assert not (tmp_path / "out").exists()
