"""The memory estimate against what torch, bitsandbytes and autograd really hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch.profiler import ProfilerActivity
from transformers import AutoModelForCausalLM

from captioning.base_models import load_model, resolve
from captioning.errors import ConfigError
from tests.training.helpers import recipe_for
from training import memory, model
from training.data import Batch
from training.loop import completion_loss
from training.optimizer import build_optimizer
from training.plan import model_config
from training.recipe import Recipe

TOKENS, LABELS = 200, 20

MODELS = pytest.mark.parametrize("folder", ["tiny_llama", "tiny_gemma2"])


def built(recipe: Recipe) -> PeftModel:
    return model.build(recipe, resolve(recipe.model), "cpu").train()


def rehearsal(recipe: Recipe, **settings: Any) -> memory.Rehearsal:
    config = model_config(resolve(recipe.model))
    return memory.Rehearsal(recipe, config, **{"fused_dropout": False} | settings)


def batch(size: int) -> Batch:
    """Of which one sample is padded, if there are several."""
    ids = torch.randint(5, 300, (size, TOKENS))
    mask = torch.ones_like(ids)
    mask[1:2, :7] = 0
    return Batch(ids, mask, (mask.cumsum(-1) - 1).clamp(min=0), ids[:, -LABELS:])


def loss_of(adapted: PeftModel, recipe: Recipe, size: int) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bf16"):
        return completion_loss(adapted, batch(size))


def stored(tensors: Iterable[torch.Tensor]) -> dict[int, int]:
    """Bytes by storage, so that each counts once."""
    storages = (tensor.untyped_storage() for tensor in tensors)
    return {storage.data_ptr(): storage.nbytes() for storage in storages}


def weights_of(adapted: torch.nn.Module) -> list[torch.Tensor]:
    """Parameters, buffers and what bitsandbytes keeps beside a quantized weight."""
    tensors = [*adapted.parameters(), *adapted.buffers()]
    for weight in adapted.parameters():
        states = [state for state in (getattr(weight, "quant_state", None),) if state is not None]
        states += [state.state2 for state in states if state.nested]
        for state in states:
            tensors += [state.absmax, state.code, *([state.offset] if state.nested else [])]
        tensors += filter(torch.is_tensor, [getattr(weight, "SCB", None)])  # scales of 8-bit rows
    return tensors


def saved_for_backward(adapted: PeftModel, recipe: Recipe, size: int) -> int:
    """Bytes that autograd keeps when the head begins, weights excluded."""
    saved: list[torch.Tensor] = []
    at_head: list[int] = []
    base = adapted.get_base_model()
    head = base.get_output_embeddings()  # type: ignore[operator]
    hook = head.register_forward_pre_hook(lambda *_: at_head.append(len(saved)))

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = loss_of(adapted, recipe, size)
    loss.backward()
    hook.remove()
    weights = stored(weights_of(adapted))
    return sum(size for key, size in stored(saved[: at_head[0]]).items() if key not in weights)


def allocated_at_peak(work: Callable[[], object]) -> int:
    """The most bytes that torch's allocator gave out meanwhile, by its own record."""
    with torch.profiler.profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        work()
    events = record.profiler.kineto_results.events()
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    return max(accumulate(change for _, change in changes), default=0)


@MODELS
@pytest.mark.parametrize("size", [1, 3])
def test_activations_are_what_autograd_saves(folder: str, size: int, request: pytest.FixtureRequest) -> None:
    recipe = recipe_for(request.getfixturevalue(folder))
    saved = saved_for_backward(built(recipe), recipe, size)
    step = rehearsal(recipe).training(size, TOKENS, LABELS, checkpointing=False)
    assert step.activations == pytest.approx(saved, rel=0.05)  # and what else lives at that moment


@MODELS
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(
    ("size", "changes"), [(1, {}), (3, {}), (3, {"quantization": None, "precision": "fp32"})]
)
def test_the_peak_of_a_step_is_that_of_torch_s_allocator(
    folder: str, size: int, changes: dict[str, Any], checkpointing: bool, request: pytest.FixtureRequest
) -> None:
    recipe = recipe_for(request.getfixturevalue(folder), activation_checkpointing=checkpointing, **changes)
    adapted = built(recipe)
    loss_of(adapted, recipe, size).backward()  # gradients are there from now on
    peak = allocated_at_peak(lambda: loss_of(adapted, recipe, size).backward())
    step = rehearsal(recipe).training(size, TOKENS, LABELS, checkpointing=checkpointing)
    assert step.peak == pytest.approx(peak, rel=0.02)


def test_validation_keeps_nothing_for_a_backward_pass(tiny_gemma2: Path) -> None:
    recipe = recipe_for(tiny_gemma2)
    adapted = built(recipe).eval()
    with torch.no_grad():
        peak = allocated_at_peak(lambda: loss_of(adapted, recipe, 3))
    # Not with sdpa: its kernel for CPUs has a workspace of its own.
    assert rehearsal(recipe).validation(3, TOKENS, LABELS) == pytest.approx(peak, rel=0.02)


def test_many_layers_follow_from_few(tiny_llama: Path) -> None:
    recipe = recipe_for(tiny_llama, quantization=None)
    config = model_config(resolve(recipe.model))
    config.num_hidden_layers = 7
    torch.manual_seed(0)
    deep = AutoModelForCausalLM.from_config(deepcopy(config), dtype=torch.bfloat16)
    adapted = model.with_lora(deep, recipe.lora).train()
    loss_of(adapted, recipe, 3).backward()
    peak = allocated_at_peak(lambda: loss_of(adapted, recipe, 3).backward())
    rehearsed = memory.Rehearsal(recipe, config, fused_dropout=False)
    assert rehearsed.training(3, TOKENS, LABELS, checkpointing=False).peak == pytest.approx(peak, rel=0.02)


def test_a_gpu_keeps_dropout_s_mask_in_bytes(tiny_llama: Path) -> None:
    recipe = recipe_for(tiny_llama)
    noise, mask = (
        rehearsal(recipe, fused_dropout=fused).training(3, TOKENS, LABELS, checkpointing=False).activations
        for fused in (False, True)
    )
    # Float32, as peft casts the input. Of 64 features each: o of two layers; q, k and v of the second, as
    # no gradient is wanted of the first one's input.
    assert noise - mask == (4 - 1) * (3 * TOKENS) * 64 * 5


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"double_quantization": False},
        {"quantization": "fp4"},
        {"quantization": "int8"},
        {"quantization": None},
        {"quantization": None, "precision": "fp32"},
    ],
    ids=str,
)
@MODELS
def test_base_weights_are_counted_to_the_byte(
    folder: str, changes: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    recipe = recipe_for(request.getfixturevalue(folder), **changes)
    spec = resolve(recipe.model)
    loaded = load_model(
        spec,
        dtype=torch.bfloat16 if recipe.precision == "bf16" else torch.float32,
        quantization=recipe.quantization,
        double_quantization=recipe.double_quantization,
    )
    buffers = stored(loaded.buffers())
    held = sum(size for key, size in stored(weights_of(loaded)).items() if key not in buffers)
    assert memory.weight_bytes(model.on_meta(model_config(spec)), recipe) == held


@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU")
@pytest.mark.parametrize("name", ["paged_adamw_8bit", "adamw"])
def test_the_optimizer_is_counted_to_the_byte(name: str, tiny_llama: Path) -> None:
    recipe = recipe_for(tiny_llama, optimizer={"name": name}, lora={"r": 64})  # some weights over 4,096
    adapted = built(recipe)
    weights = model.trainable(adapted)
    optimizer = build_optimizer(recipe.optimizer, weights)
    loss_of(adapted, recipe, 1).backward()
    optimizer.step()
    moments = [
        tensor
        for state in optimizer.state.values()
        for key, tensor in state.items()
        if key not in ("step", "qmap1", "qmap2")  # all weights share these
    ]
    assert memory.optimizer_bytes(name, weights.values()) == sum(stored(moments).values())


def test_a_step_that_depends_on_values_is_refused(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(*_: Any, input_ids: torch.Tensor, **__: Any) -> None:
        bool(input_ids.sum() == 0)

    rehearsed = rehearsal(recipe_for(tiny_llama))
    for adapted in rehearsed._models.values():
        monkeypatch.setattr(adapted, "forward", look)
    with pytest.raises(ConfigError, match="cannot be foreseen"):
        rehearsed.validation(1, TOKENS, LABELS)
