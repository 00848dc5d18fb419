from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from captioning.adapters import install_adapter
from captioning.corpus import write_corpus
from tests.training.exported import export
from tests.training.helpers import samples
from tests.training.run_folders import loss, make_run
from training.card import changed_settings, write_card
from training.recipe import Recipe


@pytest.fixture
def run(tiny_llama: Path, tmp_path: Path) -> Path:
    corpus = tmp_path / "private" / "train.jsonl"
    authored = [sample.model_copy(update={"license": "MIT"}) for sample in samples(3)]
    write_corpus(corpus, [*authored, *samples(2, seed=1)])
    files = {"train": str(corpus), "validation": str(corpus.with_name("validation.jsonl"))}
    recipe = {"corpus": files, "lora": {"r": 4}, "epochs": 1}
    folder = make_run(tmp_path / "runs" / "icons-1", steps=200, recipe=recipe)
    resolved = Recipe.model_validate(recipe).model_dump(mode="json") | {"model": "tiny-llama"}
    export(tiny_llama, folder / "adapter", recipe=resolved)
    return folder


def test_it_tells_what_the_run_was_told_and_what_came_of_it(run: Path) -> None:
    write_card(run)
    card = (run / "adapter" / "README.md").read_text()
    assert "Completed after 200 of 200 steps and 10.0 minutes." in card
    assert "| lora.r | 4 | 16 |" in card
    assert '| corpus.train | "train.jsonl" | "scenes" |' in card
    assert "lora.alpha |" not in card  # a default
    assert "| train | 1,200 | 1,990 | 1 x SVG refused: too_deep, 7 x more than 2048 tokens |" in card
    assert "Licences of the drawings: MIT (3), not stated (2)" in card
    assert "private" not in card
    data: Any = ModelCard(card).data
    assert data.base_model == "tiny-llama"


def test_validation_losses_are_a_table_that_stays_short(run: Path) -> None:
    write_card(run)
    card = (run / "adapter" / "README.md").read_text()
    rows = re.findall(r"^\| (\**[\d,]+\**) \| (\**[\d.]+\**) \|$", card, re.M)
    assert rows[0] == ("0", "4.0000")
    assert rows[-1] == ("**200**", f"**{loss(200, 0.05):.4f}**")
    assert 8 <= len(rows) <= 12


def test_the_curve_goes_where_the_adapter_goes(run: Path, tmp_path: Path) -> None:
    write_card(run)
    installed = install_adapter(run / "adapter", tmp_path / "adapters")
    card, curve = (installed / "README.md").read_text(), (installed / "curve.svg").read_text()
    assert "](curve.svg)" in card
    assert curve.count("<circle") == 21
    assert "icons-1" in curve


def test_a_corpus_that_changed_or_is_gone_is_not_described(run: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "private" / "train.jsonl"
    write_corpus(corpus, samples(1))
    write_card(run)
    assert "Licences" not in (run / "adapter" / "README.md").read_text()
    corpus.unlink()
    write_card(run)


def test_changed_settings_name_sections_that_are_switched_on_or_off() -> None:
    recipe = Recipe.model_validate({"early_stopping": None, "deepspeed": {"zero_stage": 2}})
    changed = changed_settings(recipe.model_dump(mode="json"))
    assert ("early_stopping", "null", "") in changed
    assert ("deepspeed.zero_stage", "2", "") in changed
