from __future__ import annotations

from pathlib import Path

import pytest
from peft import get_peft_model_state_dict
from transformers import AutoModelForCausalLM

from captioning.base_models import resolve
from captioning.errors import ConfigError
from tests.training.helpers import recipe_for
from training import model
from training.plan import make_plan, table
from training.recipe import load_recipe

ALL = ["lora.target_modules=all-linear"]

# Counted by peft on the published shapes.
TRAINABLE = [
    ("llama-3.1-8b", "test3", [], 13_631_488),
    ("llama-3.1-8b", "test1", [], 1_703_936),
    ("llama-3.1-8b", "test3-multi-gpu", ALL, 41_943_040),
    ("gemma-2-9b", "test3", [], 17_891_328),
    ("gemma-2-9b", "test2", [], 2_236_416),
    ("gemma-2-9b", "test3-multi-gpu", ALL, 54_018_048),
]


@pytest.mark.parametrize(("name", "preset", "changes", "trainable"), TRAINABLE)
def test_trainable_parameters_are_exact(name: str, preset: str, changes: list[str], trainable: int) -> None:
    assert make_plan(load_recipe(preset, [f"model={name}", *changes])).trainable_parameters == trainable


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
    plan = make_plan(load_recipe("test3", [f"model={name}", "batch_size=1"]))
    assert (plan.total_parameters, plan.quantized_parameters) == (total, quantized)
    assert plan.trainable_share == pytest.approx(share, abs=5e-7)
    assert plan.memory_gib["total"] == pytest.approx(memory_gib, abs=0.15)  # at 2,048 tokens, checkpointing
    assert f"{total:,}" in table(plan)


def test_a_plan_counts_what_a_run_trains(tiny_llama: Path) -> None:
    recipe = recipe_for(tiny_llama, lora={"r": 4, "target_modules": "all-linear"})
    built = model.build(recipe, resolve(recipe.model), "cpu")
    plan = make_plan(recipe)
    assert plan.trainable_parameters == sum(w.numel() for w in get_peft_model_state_dict(built).values())
    plain = AutoModelForCausalLM.from_pretrained(tiny_llama)
    assert plan.total_parameters == plain.num_parameters()


def test_memory_follows_the_recipe() -> None:
    def memory(*changes: str) -> dict[str, float]:
        return make_plan(load_recipe("test3", ["model=llama-3.1-8b", "batch_size=1", *changes])).memory_gib

    assert memory()["base_weights"] == pytest.approx(5.31, abs=0.01)
    assert memory("quantization=null")["base_weights"] == pytest.approx(14.96, abs=0.01)
    assert memory("activation_checkpointing=false")["activations"] > 8 * memory()["activations"]
    assert memory("optimizer.name=adamw")["optimizer"] > 3 * memory()["optimizer"]


def test_a_model_without_a_configuration_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="no configuration in"):
        make_plan(load_recipe("test3", [f"model={tmp_path}"]))
