from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from accelerate.state import AcceleratorState
from bitsandbytes.nn import Linear4bit
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModelForCausalLM
from transformers.models.gemma2.modeling_gemma2 import Gemma2Attention

from captioning.base_models import resolve
from captioning.engine import Engine, GenerationRequest
from captioning.pipeline import prepare
from captioning.prompt import clean_caption
from tests.training.helpers import DyingStore, Interrupted, exact, examples, loop_for, recipe_for, samples
from training import attention, model
from training.checkpoints import Checkpoint, CheckpointFolder
from training.data import Step, collate
from training.loop import Loop, completion_loss
from training.optimizer import learning_rate
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
    return loop_for(recipe, *splits, CheckpointFolder(store, keep=9))


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
        ids = torch.tensor([[*example.prompt, *example.completion(0)]])
        labels = ids.clone()
        labels[0, : len(example.prompt)] = -100
        loss = reference(input_ids=ids, labels=labels).loss
        expected += loss.item() * len(example.completion(0))
    assert completion_loss(reference, batch).item() == pytest.approx(expected, rel=1e-5)


def test_the_head_reads_its_weights_once_and_not_for_each_sample(tiny_llama: Path) -> None:
    """As torch would for a slice of the hidden states, at up to half of a step's time."""
    model = AutoModelForCausalLM.from_pretrained(tiny_llama)
    batch = collate(examples(tiny_llama, 4))
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiler:
        completion_loss(model, batch)
    products = [tuple(map(tuple, event.input_shapes[:2])) for event in profiler.events() if "mm" in event.key]
    hidden, vocabulary = model.config.hidden_size, model.config.vocab_size
    assert ((batch.labels.numel(), hidden), (hidden, vocabulary)) in products


@pytest.mark.parametrize(("precision", "expected"), [("bf16", {"eager", "sdpa"}), ("fp32", {"sdpa"})])
def test_short_batches_are_trained_without_the_fused_attention_where_it_is_slow(
    precision: str, expected: set[str], tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = _loop(tiny_llama, tmp_path, precision=precision)
    lengths = sorted(loop._train[i].length(0) for i in range(16))
    monkeypatch.setattr(attention, "_SHORT", lengths[8])
    seen: dict[int, str] = {}

    def look(_: object, args: tuple[object, ...], options: dict[str, Any]) -> None:
        seen[options["input_ids"].shape[1]] = loop._base.config._attn_implementation

    loop._base.register_forward_pre_hook(look, with_kwargs=True)
    for i in range(16):
        loop.backward(Step(0, [[[i]]]))
    assert set(seen.values()) == expected
    assert all(name == "sdpa" for tokens, name in seen.items() if tokens > lengths[8])
    assert loop._base.config._attn_implementation == "sdpa"


def test_either_attention_gives_the_same_gradients(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = _loop(tiny_llama, tmp_path, precision="bf16")
    step = Step(0, [[[0, 1, 2, 3, 4]]])
    plain = _gradients(loop, step)
    monkeypatch.setattr(attention, "_SHORT", 0)
    fused = _gradients(loop, step)
    for name, gradient in plain.items():
        assert (gradient - fused[name]).norm() <= 0.06 * gradient.norm()  # bfloat16 has three digits


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
    broken._store = DyingStore(tmp_path / "broken", die_after_step=3)
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
    return [(event["event"], event["step"], event["loss"]) for event in events if "loss" in event]


def test_a_run_that_gains_too_little_stops_after_its_patience_and_not_again_when_resumed(
    tiny_llama: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        "epochs": 20,
        "batch_size": 4,
        "validation": {"every_steps": 4},
        "early_stopping": {"patience_steps": 6, "min_delta": 9.0},
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

    assert set(outcome.losses) == {f"1-{index}" for index in range(16)} & set(outcome.losses)
    assert len(outcome.losses) == 4
    assert not all(math.isfinite(loss) for loss in outcome.losses.values())


def test_a_run_that_never_improves_has_no_adapter_to_show(tiny_llama: Path, tmp_path: Path) -> None:
    loop = _loop(
        tiny_llama, tmp_path, batch_size=4, optimizer={"learning_rate": 1e-30}, validation={"every_steps": 1}
    )
    outcome = loop.run()
    assert outcome.status == "failed"
    assert "never fell below" in (outcome.diagnosis or "")


def test_a_run_that_changes_nothing_is_stopped_within_ten_steps(tiny_llama: Path, tmp_path: Path) -> None:
    loop = _loop(tiny_llama, tmp_path, batch_size=4, epochs=4, optimizer={"learning_rate": 1e-30})
    outcome = loop.run()
    assert (outcome.status, outcome.progress.step) == ("failed", 10)
    assert "10 steps have not changed what the model says" in (outcome.diagnosis or "")


def test_the_validation_samples_that_have_no_loss_are_named(tiny_llama: Path, tmp_path: Path) -> None:
    loop = _loop(tiny_llama, tmp_path, batch_size=4)
    embedding = cast(torch.nn.Embedding, loop._module.get_input_embeddings())
    used = {token for one in loop._validation for token in (*one.prompt, *one.completion(0))}
    unused = next(token for token in range(embedding.num_embeddings) if token not in used)
    with torch.no_grad():
        embedding.weight[unused] = math.nan
    spoilt = dataclasses.replace(loop._validation[0], id="spoilt", prompt=[unused])
    loop._validation = [*loop._validation, spoilt]
    outcome = loop.run()
    assert outcome.status == "failed"
    assert "the validation loss is nan, samples spoilt" in (outcome.diagnosis or "")
    assert list(outcome.losses) == ["spoilt"]


def test_workers_that_drift_apart_are_noticed(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.loop.gather_object", lambda own: [*own, "another worker's checksum"])
    outcome = _loop(tiny_llama, tmp_path, batch_size=4).run()
    assert outcome.status == "failed"
    assert "the workers ended with 2 different adapters" in (outcome.diagnosis or "")


def test_asked_to_stop_during_a_validation_a_run_makes_no_further_step(
    tiny_llama: Path, tmp_path: Path
) -> None:
    loop = _loop(tiny_llama, tmp_path, batch_size=4, validation={"every_steps": 2})
    validations: list[int] = []

    def follow(event: str, step: int, _: object) -> None:
        if event == "validation":
            validations.append(step)

    loop._stop_asked = lambda: validations == [0, 2]
    outcome = loop.run(MetricsLog(tmp_path / "metrics.jsonl", sink=follow))
    assert (outcome.status, outcome.progress.step) == ("interrupted", 2)
    assert loop._store.latest() == tmp_path / "checkpoint-000002"


def test_asked_to_stop_a_run_leaves_a_checkpoint_and_goes_on_from_it(
    tiny_llama: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 4}
    whole = _loop(tiny_llama, tmp_path / "whole", **settings)
    expected = whole.run(MetricsLog(tmp_path / "whole.jsonl"))

    stopped = _loop(tiny_llama, tmp_path / "stopped", **settings)
    stopped._stop_asked = lambda: stopped.progress.step == 2
    outcome = stopped.run(MetricsLog(tmp_path / "stopped.jsonl"))
    assert (outcome.status, outcome.progress.step) == ("interrupted", 3)
    resumed = _loop(tiny_llama, tmp_path / "stopped", **settings)
    resumed.resume()
    assert resumed.run(MetricsLog(tmp_path / "stopped.jsonl", resumed_at=3)) == expected
    assert _losses(tmp_path / "stopped.jsonl") == _losses(tmp_path / "whole.jsonl")


def test_a_damaged_checkpoint_costs_only_its_steps(tiny_llama: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 4, "checkpoints": {"every_steps": 2}}
    whole = _loop(tiny_llama, tmp_path, **settings)
    expected = whole.run()
    for step in (6, 8):
        (tmp_path / f"checkpoint-{step:06d}" / "optimizer.pt").write_bytes(b"nothing")
    again = _loop(tiny_llama, tmp_path, **settings)
    again.resume()
    assert again.progress.step == 4
    assert again.run() == expected
    assert model.checksum(model.trainable(again._module)) == model.checksum(model.trainable(whole._module))


def test_a_checkpoint_that_cannot_be_written_ends_the_run_in_words(tiny_llama: Path, tmp_path: Path) -> None:
    class FullDisk(CheckpointFolder):
        def save(self, checkpoint: Checkpoint) -> None:
            raise OSError(28, "No space left on device", str(tmp_path))

    loop = _loop(tiny_llama, tmp_path, batch_size=4, checkpoints={"every_steps": 2})
    loop._store = FullDisk(tmp_path, keep=1)
    outcome = loop.run()
    assert (outcome.status, outcome.progress.step) == ("failed", 2)
    assert "step 2: the checkpoint could not be written" in (outcome.diagnosis or "")
    assert "No space left on device" in (outcome.diagnosis or "")


def test_the_log_shows_captions_and_how_fast_it_goes(tiny_llama: Path, tmp_path: Path) -> None:
    loop = _loop(tiny_llama, tmp_path, batch_size=4, validation={"every_steps": 100, "captions": 3})
    loop.run(MetricsLog(tmp_path / "metrics.jsonl"))
    events = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    shown = [event["captions"] for event in events if event["event"] == "captions"]
    references = {sample.id: sample.references[0] for sample in samples(7, seed=2)}
    assert len(shown) == 2  # before the first step and after the last
    for captions in shown:
        assert [caption["id"] for caption in captions] == ["2-0", "2-2", "2-4"]
        assert all(references[caption["id"]] == caption["reference"] for caption in captions)
    assert shown[0] != shown[1]
    steps = [event for event in events if event["event"] == "step"]
    assert sum(event["tokens"] for event in steps) == sum(
        example.length(0) for example in examples(tiny_llama, 16, seed=1)
    )
    assert all(0 <= event["padding_share"] < 1 and event["tokens_per_s"] > 0 for event in steps)


def test_captions_are_those_that_the_engine_writes(tiny_llama: Path, tmp_path: Path) -> None:
    loop = _loop(tiny_llama, tmp_path, **exact())
    engine = Engine.load(str(tiny_llama), dtype="float32")
    shown = {caption["id"]: caption["caption"] for caption in loop.captions(7)}
    for sample in samples(7, seed=2):
        prompt = prepare(sample.svg, engine.tokenizer).prompt_ids
        [generation] = engine.generate([GenerationRequest(prompt)])
        assert clean_caption(shown[sample.id]) == generation.text


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
