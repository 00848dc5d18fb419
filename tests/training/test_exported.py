"""What a run leaves, in other hands: the adapter in plain peft, merged, pushed; the run beside another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from captioning.adapters import read_manifest
from captioning.engine import Engine, Generation, GenerationRequest
from captioning.prompt import clean_caption, end_token_id
from rendering import load
from tests.training.helpers import loop_for, recipe_for, samples, write_splits
from tests.training.hub import serving
from tests.training.test_command import answer, run
from training import run as training_run
from training.checkpoints import CheckpointFolder
from training.preflight import check
from training.progress import MetricsLog
from training.worker import METRICS_FILE

Trained = Callable[[str], Path]

FAMILIES = ("tiny_llama", "tiny_gemma2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Trained:
    """The folder of a run on a family's tiny model, trained once, without Ray."""
    home = tmp_path_factory.mktemp("home")
    corpus = write_splits(home)

    def folder_of(family: str) -> Path:
        folder = home / "runs" / f"icons-{family.removeprefix('tiny_')}"
        if not (folder / "result.json").exists():
            _train(request.getfixturevalue(family), folder, corpus)
        return folder

    return folder_of


def _train(base: Path, folder: Path, corpus: dict[str, str]) -> None:
    recipe = recipe_for(
        base,
        corpus=corpus,
        epochs=2,
        optimizer={"name": "adamw", "learning_rate": 3e-3},
        validation={"every_steps": 8, "captions": 0},
    )
    checked = check(recipe, folder / "corpus", folder.parent / ".tokens")
    training_run._open(folder, checked)
    store = CheckpointFolder(folder, keep=1)
    loop = loop_for(recipe, checked.train.tokenized.examples, checked.validation.tokenized.examples, store)
    outcome = loop.run(MetricsLog(folder / METRICS_FILE))
    training_run._export(checked, outcome, folder)
    result = training_run._result(checked, outcome, folder)
    (folder / "result.json").write_text(result.model_dump_json())
    training_run.train(
        recipe, name=folder.name, runs_dir=folder.parent, adapters_dir=folder.parents[1] / "adapters"
    )


def plain(model: Any, tokenizer: Any, prompt: list[int]) -> Generation:
    """What transformers' own `generate` writes after a prompt."""
    ids, end = torch.tensor([prompt]), end_token_id(tokenizer)
    ends = sorted({end, *(eos if isinstance(eos := model.generation_config.eos_token_id, list) else [eos])})
    output = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=24,
        do_sample=False,
        eos_token_id=ends,
    )
    written = output[0, ids.shape[1] :].tolist()
    text = clean_caption(tokenizer.decode(written, skip_special_tokens=True))
    return Generation(text, "stop" if written[-1] in ends else "length", len(prompt), len(written))


@pytest.mark.parametrize("family", FAMILIES)
def test_plain_peft_writes_the_engines_captions(
    family: str, trained: Trained, request: pytest.FixtureRequest
) -> None:
    base: Path = request.getfixturevalue(family)
    adapter = trained(family) / "adapter"
    engine = Engine.load(str(base), dtype="float32", device="cpu")
    adapter_id = engine.load_adapter(adapter).adapter_id
    prompts = [engine.prepare(sample.svg).prompt_ids for sample in samples(6, seed=3)]
    model = AutoModelForCausalLM.from_pretrained(base, attn_implementation=engine.spec.attn_implementation)
    adapted = PeftModel.from_pretrained(model, str(adapter)).eval()
    tokenizer = AutoTokenizer.from_pretrained(base)
    expected = [plain(adapted, tokenizer, prompt) for prompt in prompts]
    assert engine.generate([GenerationRequest(prompt, adapter_id, 24) for prompt in prompts]) == expected
    without = engine.generate([GenerationRequest(prompt, None, 24) for prompt in prompts])
    assert without != expected


@pytest.mark.parametrize("family", FAMILIES)
def test_merged_by_command_it_writes_them_too(
    family: str,
    trained: Trained,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    base: Path = request.getfixturevalue(family)
    adapter, out = trained(family) / "adapter", trained(family) / "merged"
    words = ["merge", str(adapter), str(out), "--base", str(base), "--dtype", "float32", "--json"]
    assert run(words, monkeypatch) == 0
    assert answer(capsys)["folder"] == str(out)
    engine, merged = (Engine.load(str(folder), dtype="float32", device="cpu") for folder in (base, out))
    adapter_id = engine.load_adapter(adapter).adapter_id
    svgs = [sample.svg for sample in samples(6, seed=3)]
    assert merged.caption(svgs, max_new_tokens=24) == engine.caption(
        svgs, adapter=adapter_id, max_new_tokens=24
    )
    assert run(words, monkeypatch) == 2
    assert "--force" in answer(capsys)["error"]["message"]


def test_the_adapter_comes_with_card_and_curve(trained: Trained) -> None:
    run_folder = trained("tiny_llama")
    adapter = run_folder.parents[1] / "adapters" / run_folder.name  # as it is installed
    card = (adapter / "README.md").read_text()
    assert f"| validation_loss | {read_manifest(adapter).metrics['validation_loss']:.4g} |" in card
    assert "Completed after 24 of 24 steps" in card
    assert "| optimizer.learning_rate | 0.003 | 0.0002 |" in card
    curve = (adapter / "curve.svg").read_text()
    assert curve.count("<circle") == 4  # validations at steps 0, 8, 16 and 24
    assert not load(curve.encode()).removed


def test_it_is_pushed_by_command(trained: Trained) -> None:
    adapter = trained("tiny_llama") / "adapter"
    command = [sys.executable, "-m", "training", "push", str(adapter), "team/icons", "--json"]
    with serving() as hub:
        environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_secret", "HF_HUB_OFFLINE": "0"}
        finished = subprocess.run(command, env=environment, capture_output=True, check=True)
        assert json.loads(finished.stdout)["url"] == f"{hub.url}/team/icons/commit/c0ffee"
        assert hub.files == {path.name: path.read_bytes() for path in adapter.iterdir()}
        offline = subprocess.run(
            command, env=environment | {"HF_HUB_OFFLINE": "1"}, capture_output=True, check=False
        )
    error = json.loads(offline.stdout)["error"]
    assert (offline.returncode, error["type"]) == (1, "push_failed")
    assert "offline mode is enabled" in error["message"]


def test_runs_are_compared_by_command(
    trained: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    llama, gemma = (trained(family) for family in FAMILIES)
    page = tmp_path / "pages" / "compared.html"
    words = ["compare", llama.name, str(gemma), "--runs-dir", str(llama.parent), "--html", str(page)]
    assert run([*words, "--json"], monkeypatch) == 0
    compared = answer(capsys)
    assert compared["common_step"] == 24
    assert compared["recipe"].keys() == {"model"}
    assert [row["step"] for row in compared["equal_steps"]] == [0, 8, 16, 24]
    assert all(facts["tokens_per_s"] > 0 for facts in compared["runs"].values())
    assert any("not of the same tokens" in note for note in compared["notes"])
    assert "<svg" in page.read_text()
    assert run(words, monkeypatch) == 0
    assert "Validation loss at equal steps" in capsys.readouterr().out
