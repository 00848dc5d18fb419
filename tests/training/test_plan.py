from __future__ import annotations

import json
import sys
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from transformers import AutoModelForCausalLM

from captioning.base_models import load_tokenizer, resolve
from captioning.corpus import read_corpus
from captioning.errors import ConfigError
from captioning.pipeline import prepare
from captioning.prompt import completion_ids
from tests.training.helpers import recipe_for, write_splits
from training import model
from training.__main__ import main
from training.estimate import Estimate, Lengths
from training.plan import Plan, make_plan, model_config, trained_modules
from training.plan_table import table
from training.recipe import Recipe, load_recipe

LENGTHS = Lengths(training=2048, validation=2048, completion=64)
PRESETS = ("test1", "test2", "test3", "test3-multi-gpu")
ALL = ["lora.target_modules=all-linear"]

# Counted by peft on the published shapes.
TRAINABLE = [
    *(("llama-3.1-8b", preset, [], 1_703_936) for preset in PRESETS[:2]),
    *(("llama-3.1-8b", preset, [], 13_631_488) for preset in PRESETS[2:]),
    ("llama-3.1-8b", "test3", ALL, 41_943_040),
    *(("gemma-2-9b", preset, [], 2_236_416) for preset in PRESETS[:2]),
    *(("gemma-2-9b", preset, [], 17_891_328) for preset in PRESETS[2:]),
    ("gemma-2-9b", "test3", ALL, 54_018_048),
]


def estimate_of(recipe: Recipe, lengths: Lengths = LENGTHS) -> Estimate:
    return Estimate(recipe, model_config(resolve(recipe.model)), lengths)


@cache
def real_plan(name: str) -> Plan:
    """Of a step at 2,048 tokens, one at a time, with checkpointing."""
    changes = ["batch_size=1", "validation.batch_size=1", "validation.captions=0"]
    return make_plan(load_recipe("test3", [f"model={name}", *changes]), gpu_memory_gib=48, read_corpus=False)


@pytest.mark.parametrize(("name", "preset", "changes", "trainable"), TRAINABLE)
def test_trainable_parameters_are_those_that_peft_counts(
    name: str, preset: str, changes: list[str], trainable: int
) -> None:
    recipe = load_recipe(preset, [f"model={name}", *changes])
    targets = recipe.lora.target_modules
    settings = LoraConfig(
        r=recipe.lora.r,
        target_modules=targets if isinstance(targets, str) else list(targets),
        task_type="CAUSAL_LM",
    )
    base = model.on_meta(model_config(resolve(name)))
    adapted = get_peft_model(base, settings, low_cpu_mem_usage=True)
    estimate = estimate_of(recipe)
    assert estimate.trainable == adapted.get_nb_trainable_parameters()[0] == trainable
    assert sum(module.trainable_parameters for module in trained_modules(estimate.adapted)) == trainable


@pytest.mark.parametrize(
    ("name", "total", "quantized", "share", "memory_gib"),
    [
        ("llama-3.1-8b", 8_030_261_248, 6_979_321_856, 0.001695, 7.5),
        ("gemma-2-9b", 9_241_705_984, 8_323_596_288, 0.001932, 8.5),
    ],
)
def test_the_real_models_are_counted_without_their_weights(
    name: str, total: int, quantized: int, share: float, memory_gib: float
) -> None:
    planned = real_plan(name)
    assert (planned.total_parameters, planned.quantized_parameters) == (total, quantized)
    assert planned.trainable_share == pytest.approx(share, abs=5e-7)
    assert planned.memory_gib["total"] == pytest.approx(memory_gib, abs=0.2)  # the known marks
    assert f"{total:,}" in table(planned)


def test_modules_are_listed_with_layers_and_shapes() -> None:
    modules = {module.name: module for module in real_plan("gemma-2-9b").modules}
    assert list(modules) == ["q_proj", "k_proj", "v_proj", "o_proj"]
    assert (modules["q_proj"].layers, modules["q_proj"].shape) == (42, (4096, 3584))
    assert modules["k_proj"].trainable_parameters == 42 * 16 * (3584 + 2048)


def test_modules_trained_in_full_are_listed_too(tiny_llama: Path) -> None:
    recipe = recipe_for(tiny_llama, lora={"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]})
    estimate = estimate_of(recipe)
    q_proj, head = trained_modules(estimate.adapted)
    assert (head.name, head.layers) == ("lm_head", 1)
    assert head.trainable_parameters == head.shape[0] * head.shape[1]
    assert estimate.trainable == q_proj.trainable_parameters + head.trainable_parameters


@pytest.mark.parametrize(
    "lora",
    [{"r": 4, "target_modules": "all-linear"}, {"dora": True}, {"modules_to_save": ["embed_tokens", "norm"]}],
    ids=str,
)
def test_a_plan_counts_what_a_run_trains(tiny_llama: Path, lora: dict[str, Any]) -> None:
    recipe = recipe_for(tiny_llama, lora=lora)
    built = model.build(recipe, resolve(recipe.model), "cpu")
    estimate = estimate_of(recipe)
    saved = get_peft_model_state_dict(built, save_embedding_layers=False).values()
    assert estimate.trainable == sum(weight.numel() for weight in saved)
    assert estimate.total == AutoModelForCausalLM.from_pretrained(tiny_llama).num_parameters()


def test_memory_follows_the_recipe(tiny_llama: Path) -> None:
    def memory(**changes: Any) -> dict[str, float]:
        return estimate_of(recipe_for(tiny_llama, **changes)).gib(recipe_for(tiny_llama, **changes))

    plain = memory()
    assert memory(quantization=None)["base_weights"] > 1.5 * plain["base_weights"]
    assert memory(activation_checkpointing=True)["activations"] < plain["activations"] / 2
    assert memory(optimizer={"name": "adamw"}, lora={"r": 64})["optimizer"] == pytest.approx(
        memory(lora={"r": 64})["optimizer"] * 8 / 2.03, rel=0.3
    )
    assert memory(batch_size=1, max_tokens=512)["activations"] < plain["activations"] / 8
    assert plain["total"] == pytest.approx(sum(plain.values()) - plain["total"])


def test_captions_count_where_they_take_more_than_training(tiny_llama: Path) -> None:
    many = recipe_for(tiny_llama, batch_size=1, validation={"batch_size": 1, "captions": 64})
    none = recipe_for(tiny_llama, batch_size=1, validation={"batch_size": 1, "captions": 0})
    text = model_config(resolve(many.model)).get_text_config()
    slot = 1024 * 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim * 2  # bytes, of 564
    estimate = estimate_of(many, Lengths(500, 500, 20))
    step = estimate.gib(many)
    shown = sum(step[part] for part in ("activations", "logits", "temporary", "validation"))
    assert shown * 1024**3 == pytest.approx(64 * slot)
    least = estimate.gib(none)["total"]
    assert least < step["total"]
    assert estimate.changes_that_fit(least) == ["validation.captions=0"]


def test_validation_counts_where_it_takes_more_than_training(tiny_llama: Path) -> None:
    single = recipe_for(tiny_llama, batch_size=1, activation_checkpointing=True)
    wide = single.model_copy(update={"validation": single.validation.model_copy(update={"batch_size": 64})})
    estimate = estimate_of(single)
    assert estimate.gib(wide)["validation"] > estimate.gib(single)["validation"]


def test_zero_2_shares_gradients_and_optimizer_among_workers(tiny_llama: Path) -> None:
    def memory(**deepspeed: Any) -> dict[str, float]:
        recipe = recipe_for(
            tiny_llama, deepspeed=deepspeed or None, optimizer={"name": "adamw"}, resources={"workers": 4}
        )
        return estimate_of(recipe, Lengths(64, 64, 8)).gib(recipe)

    plain, sharded, offloaded = memory(), memory(offload_optimizer=False), memory(offload_optimizer=True)
    size = plain["adapter"]
    assert (plain["gradients"], plain["optimizer"]) == pytest.approx((2 * size, 2 * size))
    assert (sharded["gradients"], sharded["optimizer"]) == pytest.approx((1.25 * size, 0.75 * size))
    assert (offloaded["gradients"], offloaded["optimizer"]) == pytest.approx((size, 0.0))
    assert offloaded["host_memory"] == pytest.approx(size)
    assert "host_memory" not in plain
    parts = sum(gib for part, gib in offloaded.items() if part not in ("total", "host_memory"))
    assert offloaded["total"] == pytest.approx(parts)


def test_a_model_that_fits_without_checkpointing_is_told_so() -> None:
    planned = real_plan("llama-3.1-8b")
    assert planned.gpu is not None
    assert planned.gpu.fits
    assert planned.gpu.margin_gib == pytest.approx(48 - planned.memory_gib["total"], abs=0.01)
    assert planned.without_checkpointing_gib["total"] < 24 < 48 * 0.9
    assert any("activation_checkpointing=false fits" in line for line in planned.advice)
    assert not real_plan("gemma-2-9b").advice  # it would take 40 GiB and more for activations alone


@pytest.mark.parametrize("share", [0.999, 0.6])
def test_the_changes_that_are_named_make_it_fit(tiny_llama: Path, share: float) -> None:
    recipe = recipe_for(tiny_llama, batch_size=128, accumulation=3, quantization=None)
    total = make_plan(recipe, gpu_memory_gib=1e9, read_corpus=False).memory_gib["total"]
    planned = make_plan(recipe, gpu_memory_gib=total * share, read_corpus=False)
    assert planned.gpu is not None
    assert not planned.gpu.fits
    assert planned.gpu.changes
    path = tiny_llama.parent / "wide.yaml"
    path.write_text(json.dumps(recipe.model_dump(mode="json")))  # which is YAML, too
    changed = load_recipe(str(path), planned.gpu.changes)
    again = make_plan(changed, gpu_memory_gib=total * share, read_corpus=False)
    assert again.gpu is not None
    assert again.gpu.margin_gib >= again.gpu.memory_gib * 0.1 - 0.01
    assert changed.samples_per_step == recipe.samples_per_step
    assert " ".join(planned.gpu.changes) in table(planned)


def test_a_gpu_that_nothing_fits_is_said_to_be_too_small(tiny_llama: Path) -> None:
    planned = make_plan(recipe_for(tiny_llama, batch_size=1), gpu_memory_gib=0.5, read_corpus=False)
    assert planned.gpu is not None
    assert planned.gpu.changes is None
    assert "a larger GPU" in table(planned)


def test_a_run_on_cpus_has_no_gpu_to_fit(tiny_llama: Path) -> None:
    planned = make_plan(recipe_for(tiny_llama, resources={"device": "cpu"}), read_corpus=False)
    assert planned.gpu is None
    assert planned.memory_gib["cuda_context"] == 0


def test_the_corpus_is_counted_as_a_run_reads_it(tiny_llama: Path, tmp_path: Path) -> None:
    corpus = write_splits(tmp_path)
    recipe = recipe_for(
        tiny_llama, corpus=corpus, batch_size=3, accumulation=2, epochs=5, max_tokens=200, max_steps=9
    )
    counted = make_plan(recipe, tokens_dir=tmp_path / "tokens").corpus
    assert counted is not None
    tokenizer = load_tokenizer(resolve(recipe.model))
    lengths = []
    for sample in read_corpus(corpus["train"]):
        prompt = len(prepare(sample.svg, tokenizer).prompt_ids)
        captions = [len(completion_ids(tokenizer, text)) for text in sample.references]
        if fitting := [caption for caption in captions if prompt + caption <= 200]:
            lengths.append((prompt, fitting))
    assert counted.samples == len(lengths)
    assert counted.longest_tokens == max(prompt + max(captions) for prompt, captions in lengths) <= 200
    assert counted.steps_per_epoch == len(lengths) // 6
    assert counted.total_steps == 9
    assert counted.samples + sum(counted.dropped.values()) >= 48
    whole = sum(prompt + captions[0] for prompt, captions in lengths)
    read = len(lengths) // 6 * 6  # an epoch leaves the samples out that fill no step
    assert whole * (read - 6) / len(lengths) < counted.tokens_per_epoch <= whole
    assert 0 < counted.label_tokens_per_epoch < counted.tokens_per_epoch
    assert 0 <= counted.padding_share < 0.2
    assert list((tmp_path / "tokens").glob("*.parquet"))


def test_the_memory_is_for_the_longest_sample_that_there_is(tiny_llama: Path, tmp_path: Path) -> None:
    recipe = recipe_for(tiny_llama, corpus=write_splits(tmp_path))
    with_corpus, without = make_plan(recipe), make_plan(recipe, read_corpus=False)
    assert with_corpus.corpus is not None
    assert with_corpus.lengths.training == with_corpus.corpus.longest_tokens < 400
    assert without.lengths.training == 1024  # the model's own limit
    assert with_corpus.memory_gib["activations"] < without.memory_gib["activations"]
    assert "steps per epoch" in table(with_corpus)


def test_a_tokenizer_that_cannot_be_had_leaves_the_rest_of_the_plan() -> None:
    planned = make_plan(load_recipe("test1", ["model=llama-3.1-8b"]))  # tests do not reach the hub
    assert planned.trainable_parameters == 1_703_936
    assert planned.corpus is None
    assert "cannot be had from the Hugging Face hub" in str(planned.corpus_missing)
    assert "no figures of the corpus" in table(planned)


def test_a_corpus_that_cannot_be_read_is_said_to_be_missing(tiny_llama: Path, tmp_path: Path) -> None:
    missing = {"train": str(tmp_path / "no.jsonl"), "validation": str(tmp_path / "none.jsonl")}
    recipe = recipe_for(tiny_llama, corpus=missing)
    assert "no.jsonl" in str(make_plan(recipe).corpus_missing)


def test_the_command_prints_one_object_or_a_table(
    tiny_gemma2: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plan", "test2", f"model={tiny_gemma2}", "--no-corpus", "--gpu-memory-gib", "24"]
    printed = []
    for more in (["--json"], []):
        monkeypatch.setattr(sys, "argv", ["training", *words, *more])
        with pytest.raises(SystemExit) as status:
            main()
        assert not status.value.code
        printed.append(capsys.readouterr().out)
    planned = json.loads(printed[0])
    assert {"base_weights", "adapter", "optimizer", "activations", "logits", "total", "host_memory"} <= (
        planned["memory_gib"].keys()
    )
    assert planned["gpu"]["memory_gib"] == 24
    recipe = load_recipe("test2", [f"model={tiny_gemma2}"])
    direct = make_plan(recipe, gpu_memory_gib=24, read_corpus=False)
    assert planned == json.loads(json.dumps(asdict(direct)))
    assert printed[1] == table(direct) + "\n"
    assert "checkpointing*" in printed[1]


def test_a_model_without_a_configuration_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="no configuration in"):
        make_plan(load_recipe("test3", [f"model={tmp_path}"]))
