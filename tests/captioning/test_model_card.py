from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from captioning.engine import Caption, Engine
from captioning.model_card import adapter_card, merged_card
from rendering import canonicalize, load
from tests.captioning.helpers import make_manifest

RECIPE: dict[str, Any] = {
    "quantization": "nf4",
    "lora": {"r": 24},
    "corpus": {"train": "/home/somebody/secret/train.jsonl", "scenes": {"seed": 1}},
}


def program_of(card: str) -> str:
    (program,) = re.findall(r"^````python\n(.*?)^````", card, re.M | re.S)
    return str(program)


def test_its_program_writes_the_caption_that_the_engine_writes(
    llama: Path, icons: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / llama.name).symlink_to(llama)
    (tmp_path / icons.name).symlink_to(icons)
    monkeypatch.chdir(tmp_path)  # where the names that the card uses are folders
    found: dict[str, Any] = {}
    exec(program_of((icons / "README.md").read_text()), found)
    assert canonicalize(load(found["svg"].encode())) == found["svg"]
    engine = Engine.load(str(llama), dtype="float32", device="cpu")
    engine.load_adapter(icons)
    (with_adapter,) = engine.caption([found["svg"]], adapter="icons")
    (without,) = engine.caption([found["svg"]])
    assert isinstance(with_adapter, Caption)
    assert isinstance(without, Caption)
    assert " ".join(found["caption"].split()) == with_adapter.text != without.text


def test_front_matter_says_what_the_hub_asks_for(llama: Path) -> None:
    manifest = make_manifest(
        str(llama),
        base_model="gemma-2-9b",
        metrics={"validation_loss": 0.31, "validation_loss_before": 2.0, "best_step": 40.0, "cider": 1.2},
    )
    data: Any = ModelCard(adapter_card(manifest)).data
    assert (data.base_model, data.license, data.library_name) == ("google/gemma-2-9b-it", "gemma", "peft")
    assert {(result.metric_type, result.metric_value) for result in data.eval_results} == {
        ("loss", 0.31),
        ("cider", 1.2),
    }
    merged: Any = ModelCard(merged_card(manifest, "bfloat16")).data
    assert (merged.library_name, merged.base_model_relation) == ("transformers", "finetune")


def test_gemma_is_loaded_with_eager_attention(llama: Path) -> None:
    gemma, other = make_manifest(str(llama), base_model="gemma-2-9b"), make_manifest(str(llama))
    assert 'attn_implementation="eager"' in program_of(adapter_card(gemma))
    assert 'attn_implementation="eager"' in program_of(merged_card(gemma, "bfloat16"))
    assert "attn_implementation" not in program_of(adapter_card(other))


def test_the_recipe_is_there_without_the_machines_paths(llama: Path) -> None:
    card = adapter_card(make_manifest(str(llama), recipe=RECIPE), "## Training\n\nIt went well.\n\n")
    assert '"train": "train.jsonl"' in card
    assert '"seed": 1' in card
    assert "secret" not in card
    assert "It went well." in card
    assert "base model held in nf4" in card
    assert "--max-lora-rank 32" in card


@pytest.mark.parametrize("option", [{"dora": True}, {"modules_to_save": ["lm_head"]}])
def test_what_only_runs_merged_says_so(llama: Path, option: dict[str, Any]) -> None:
    card = adapter_card(make_manifest(str(llama), recipe={"lora": {"r": 4} | option}))
    assert "python -m training merge FOLDER MERGED" in card
    assert "vllm serve" not in card
