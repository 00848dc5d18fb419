from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from bitsandbytes.nn import Linear4bit
from transformers import AutoModelForCausalLM
from transformers.models.gemma2.modeling_gemma2 import Gemma2Attention

from captioning.base_models import resolve
from tests.training.helpers import FolderStore, Interrupted, exact, examples, loop_for, recipe_for
from training import model
from training.data import Step, collate
from training.loop import Loop, completion_loss, diagnose, learning_rate
from training.progress import MetricsLog, Progress
from training.recipe import Optimizer, Recipe

pytestmark = pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU:UserWarning")


@pytest.fixture(autouse=True)
def _one_accelerator_per_test() -> Iterator[None]:
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def _loop(folder: Path, store: Path, **changes: Any) -> Loop:
    recipe = recipe_for(folder, **changes)
    splits = examples(folder, 16, seed=1), examples(folder, 7, seed=2)
    return loop_for(recipe, *splits, FolderStore(store))


def _gradients(loop: Loop, step: Step) -> dict[str, torch.Tensor]:
    loop.backward(step)
    weights = model.trainable(loop._module)
    gradients = {name: weight.grad.clone() for name, weight in weights.items() if weight.grad is not None}
    for weight in weights.values():
        weight.grad = None
    return gradients


def test_padding_and_the_short_head_do_not_change_the_loss(tiny_llama: Path) -> None:
    reference = AutoModelForCausalLM.from_pretrained(tiny_llama)
    split = examples(tiny_llama, 4)
    batch = collate(split)
    expected = 0.0
    for example in split:
        ids = torch.tensor([example.prompt + example.completion(0)])
        labels = ids.clone()
        labels[0, : len(example.prompt)] = -100
        loss = reference(input_ids=ids, labels=labels).loss
        expected += loss.item() * len(example.completion(0))
    assert completion_loss(reference, batch).item() == pytest.approx(expected, rel=1e-5)


def test_adapters_are_trained_in_float32_on_a_4_bit_base(tiny_llama: Path) -> None:
    built = model.build(recipe_for(tiny_llama), resolve(str(tiny_llama)), "cpu")
    assert {weight.dtype for weight in model.trainable(built).values()} == {torch.float32}
    quantized = [name for name, layer in built.named_modules() if isinstance(layer, Linear4bit)]
    assert len(quantized) == 2 * 7
    assert all("lora_" in name for name in model.trainable(built))


def test_a_validation_pass_leaves_gradients_as_they_were(tiny_llama: Path, tmp_path: Path) -> None:
    """On some CPUs bitsandbytes repacks 4-bit weights when it first evaluates, and then trains wrongly."""
    loop = _loop(tiny_llama, tmp_path)
    step = Step(0, [[[0, 1, 2, 3]]])
    before = _gradients(loop, step)
    loop.validation_loss()
    after = _gradients(loop, step)
    assert before.keys() == after.keys()
    assert before
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("batch_size", [2, 3, 7])
def test_validation_loss_does_not_depend_on_the_batch_size(
    batch_size: int, tiny_llama: Path, tmp_path: Path
) -> None:
    losses = [
        _loop(tiny_llama, tmp_path, **exact(validation={"batch_size": size})).validation_loss()
        for size in (1, batch_size)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)


def test_a_step_is_the_same_however_it_is_split(tiny_llama: Path, tmp_path: Path) -> None:
    loop = _loop(tiny_llama, tmp_path, **exact())
    whole = _gradients(loop, Step(0, [[[0, 1, 2, 3, 4, 5]]]))
    parts = _gradients(loop, Step(0, [[[0]], [[1, 2]], [[3, 4, 5]]]))
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-4, atol=1e-6)


def test_activation_checkpointing_gives_the_same_gradients(tiny_llama: Path, tmp_path: Path) -> None:
    step = Step(0, [[[0, 1, 2]]])
    plain = _gradients(_loop(tiny_llama, tmp_path), step)
    checkpointed = _gradients(_loop(tiny_llama, tmp_path, activation_checkpointing=True), step)
    assert all(torch.equal(plain[name], checkpointed[name]) for name in plain)


def test_a_resumed_run_repeats_the_undisturbed_one_to_the_last_bit(tiny_llama: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "epochs": 2,
        "batch_size": 4,
        "validation": {"every_steps": 2},
        "checkpoints": {"every_steps": 3},
    }
    whole = _loop(tiny_llama, tmp_path / "whole", **settings)
    expected = whole.run(MetricsLog(tmp_path / "whole.jsonl"))

    broken = _loop(tiny_llama, tmp_path / "broken", **settings)
    broken._store = FolderStore(tmp_path / "broken", die_after_step=3)
    with pytest.raises(Interrupted):
        broken.run(MetricsLog(tmp_path / "broken.jsonl"))
    with (tmp_path / "broken.jsonl").open("a") as log:
        log.write('{"event": "step", "step": 4, "loss": 1')  # cut short
    resumed = _loop(tiny_llama, tmp_path / "broken", **settings)
    resumed.resume()
    assert resumed.progress.step == 3
    outcome = resumed.run(MetricsLog(tmp_path / "broken.jsonl", resumed_at=3))

    assert outcome == expected
    assert outcome.status == "completed"
    assert _losses(tmp_path / "broken.jsonl") == _losses(tmp_path / "whole.jsonl")
    assert model.checksum(model.trainable(resumed._module)) == model.checksum(model.trainable(whole._module))


def _losses(path: Path) -> list[tuple[str, int, float]]:
    events = [json.loads(line) for line in path.read_text().splitlines()]
    return [(event["event"], event["step"], event["loss"]) for event in events]


def test_a_run_that_learns_nothing_stops_after_its_patience_and_not_again_when_resumed(
    tiny_llama: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        "epochs": 20,
        "batch_size": 4,
        "optimizer": {"learning_rate": 1e-12},
        "validation": {"every_steps": 4},
        "early_stopping": {"patience_steps": 6},
    }
    outcome = _loop(tiny_llama, tmp_path, **settings).run()
    assert (outcome.status, outcome.progress.step) == ("stopped_early", 6)
    resumed = _loop(tiny_llama, tmp_path, **settings)
    resumed.resume()
    assert resumed.run() == outcome


def test_patience_counts_from_the_last_gain_that_was_large_enough() -> None:
    progress = Progress()
    progress.observe(2.0, min_delta=0.1)
    for step, loss in ((10, 1.95), (20, 1.91), (30, 1.89), (40, 1.88)):
        progress.step = step
        assert progress.observe(loss, min_delta=0.1)
    assert (progress.first_loss, progress.best_loss, progress.best_step) == (2.0, 1.88, 40)
    assert (progress.reference_step, progress.steps_without_gain) == (30, 10)


def test_a_run_that_explodes_is_stopped_before_its_weights_are_spoiled(
    tiny_llama: Path, tmp_path: Path
) -> None:
    loop = _loop(tiny_llama, tmp_path, batch_size=4, optimizer={"learning_rate": 1e30, "warmup_ratio": 0.0})
    outcome = loop.run()
    assert outcome.status == "failed"
    assert outcome.diagnosis is not None
    assert "nan" in outcome.diagnosis
    assert "learning rate that is too high" in outcome.diagnosis
    assert all(weight.isfinite().all() for weight in model.trainable(loop._module).values())


def test_gemma_2_is_trained_with_its_own_attention(tiny_gemma2: Path, tmp_path: Path) -> None:
    loop = _loop(tiny_gemma2, tmp_path, activation_checkpointing=True)
    outcome = loop.run()
    assert outcome.status == "completed"
    assert outcome.progress.best_loss < outcome.progress.first_loss - 0.5
    assert loop._module.config._attn_implementation == "eager"  # the one that caps attention scores
    capped = loop.validation_loss()
    for layer in loop._module.modules():
        if isinstance(layer, Gemma2Attention):
            layer.attn_logit_softcapping = 0.1
    assert abs(loop.validation_loss() - capped) > 1e-3


@pytest.mark.parametrize(
    ("loss", "norm", "words"),
    [
        (math.nan, 1.0, "precision=bf16"),
        (1.0, math.inf, "precision=bf16"),
        (0.0, math.nan, "precision=bf16"),
        (0.0, 1.0, "every label is masked"),
        (1.0, 0.0, "target_modules"),
    ],
)
def test_what_is_wrong_with_a_step_is_said(loss: float, norm: float, words: str) -> None:
    assert words in (diagnose(loss, norm) or "")


def test_an_ordinary_step_has_no_diagnosis() -> None:
    assert diagnose(2.3, 0.7) is None


def test_learning_rate_warms_up_and_falls() -> None:
    rates = [learning_rate(Optimizer(learning_rate=1.0, warmup_ratio=0.1), step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * i for i in range(1, 11)])
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert 0 < rates[-1] < 0.001
    linear = Optimizer(learning_rate=1.0, warmup_ratio=0.0, schedule="linear")
    assert [learning_rate(linear, step, 4) for step in range(4)] == [1.0, 0.75, 0.5, 0.25]


def test_the_names_of_modules_are_checked(tiny_llama: Path) -> None:
    recipe = Recipe.model_validate(
        {"model": str(tiny_llama), "lora": {"target_modules": ["q_proj", "query"]}}
    )
    with pytest.raises(ValueError, match=r"has no query\. Its linear layers: down_proj"):
        model.build(recipe, resolve(recipe.model), "cpu")
