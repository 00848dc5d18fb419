from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from captioning.errors import ConfigError
from training.recipe import RECIPES, Recipe, dump_recipe, flat, load_recipe, notes, recipe_names

# workers; LoRA r, alpha and targets; learning rate, warm-up; batch x accumulation; checkpoints; DeepSpeed
PRESETS: dict[str, tuple[Any, ...]] = {
    "test1": (1, (4, 8, "qv"), (2e-4, 0.03), (1, 16), (200, 3), True),
    "test2": (2, (4, 8, "qv"), (2e-4, 0.03), (4, 2), (200, 3), True),
    "test3": (1, (16, 32, "qkvo"), (1e-5, 0.05), (2, 4), (100, 5), False),
    "test3-multi-gpu": (2, (16, 32, "qkvo"), (1e-5, 0.05), (4, 1), (100, 5), False),
}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_those_of_the_design(name: str) -> None:
    recipe = load_recipe(name)
    targets = "".join(target.removesuffix("_proj") for target in recipe.lora.target_modules)
    assert PRESETS[name] == (
        recipe.resources.workers,
        (recipe.lora.r, recipe.lora.alpha, targets),
        (recipe.optimizer.learning_rate, recipe.optimizer.warmup_ratio),
        (recipe.batch_size, recipe.accumulation),
        (recipe.checkpoints.every_steps, recipe.checkpoints.keep),
        recipe.deepspeed is not None and recipe.deepspeed.offload_optimizer,
    )


@pytest.mark.parametrize("name", PRESETS)
def test_what_all_presets_share(name: str) -> None:
    recipe = load_recipe(name)
    assert (recipe.quantization, recipe.precision, recipe.epochs) == ("nf4", "auto", 3)
    assert recipe.activation_checkpointing
    assert recipe.lora.dropout == 0.05
    assert recipe.optimizer.name == "paged_adamw_8bit"
    assert (recipe.optimizer.schedule, recipe.optimizer.weight_decay) == ("cosine", 0.01)
    assert recipe.early_stopping is not None
    assert (recipe.early_stopping.patience_steps, recipe.early_stopping.min_delta) == (100, 1e-4)


@pytest.mark.parametrize("name", recipe_names())
def test_files_hold_only_differences_from_the_defaults(name: str) -> None:
    defaults = flat(Recipe().model_dump(mode="json"))
    settings = flat(yaml.safe_load((RECIPES / f"{name}.yaml").read_text()))
    assert [key for key, value in settings.items() if value == defaults.get(key)] == []


def test_overrides_reach_into_sections_and_keep_their_other_keys() -> None:
    recipe = load_recipe("test3-multi-gpu", ["model=gemma-2-9b", "lora.r=8", "optimizer.learning_rate=5e-6"])
    assert recipe.model == "gemma-2-9b"
    assert (recipe.lora.r, recipe.lora.alpha) == (8, 32)
    assert (recipe.optimizer.learning_rate, recipe.optimizer.warmup_ratio) == (5e-6, 0.05)


@pytest.mark.parametrize("number", ["1e-5", "1E-5", "1.0e-5", "0.00001", ".1e-4"])
def test_numbers_with_an_exponent_are_numbers(number: str, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(f"optimizer: {{learning_rate: {number}}}")
    assert load_recipe(str(path)).optimizer.learning_rate == 1e-5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lora.ranks=8", "unknown key 'lora.ranks'. Did you mean 'lora.r'?"),
        ("learning_rate=1e-4", "Did you mean 'optimizer.learning_rate'?"),
        ("batchsize=2", "Did you mean 'batch_size'?"),
        ("lora.r=eight", "'lora.r': Input should be a valid integer, not 'eight'"),
        ("lora.r=0", "'lora.r'"),
        ("seed='1'", "'seed'"),
        ("optimizer.learning_rate=.inf", "'optimizer.learning_rate'"),
        ("lora.r", "is not an override"),
        ("lora.r=[", "not valid YAML"),
        ("lora.init=pissa_niter_4", "lora.init=pissa_niter_4 rewrites the base model's weights"),
        ("lora.init=xavier", "'lora.init': Input should be 'default', 'gaussian', 'orthogonal' or 'loftq'"),
        ("lora.modules_to_save=[]", "'lora.modules_to_save'"),
        ("lora.modules_to_save=[norm, q_proj]", "lora.modules_to_save both name q_proj"),
        ("quantization=int4", "'quantization': Input should be 'nf4', 'fp4' or 'int8', not 'int4'"),
        ("deepspeed.offload_parameters=true", "ZeRO-3"),
        ("deepspeed.zero_stage=3", "'deepspeed.zero_stage'"),
        ("corpus.train=icons.jsonl", "corpus.validation=scenes: generated scenes say nothing about"),
        ("corpus.validation=icons.jsonl", "Give a file for both"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_in_words(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_recipe("test1", [override])
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["corpus.train=a.jsonl", "corpus.validation=a.jsonl"], "are both a.jsonl"),
        (["lora.init=loftq", "quantization=null"], "quantization=null leaves nothing to mend"),
        (["lora.init=loftq", "quantization=int8"], "quantization=int8 leaves nothing to mend"),
        (["lora.dora=true", "quantization=int8"], "loses the scales of 8-bit layers"),
        (["lora.init=orthogonal", "lora.r=5"], "lora.r=5 is odd. Use lora.r=6."),
    ],
)
def test_a_combination_that_cannot_work_is_refused_in_words(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_recipe("test3", overrides)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([], []),
        (["lora.dora=true"], ["lora.dora: services", "python -m training merge"]),
        (["lora.dora=true", "lora.modules_to_save=[norm]"], ["lora.dora and lora.modules_to_save: services"]),
        (["lora.init=loftq", "quantization=fp4"], ["Serve it with quantization=fp4"]),
    ],
)
def test_how_an_adapter_has_to_be_served_is_said_before_it_is_trained(
    overrides: list[str], words: list[str]
) -> None:
    said = notes(load_recipe("test3", overrides))
    assert len(said) == (1 if overrides else 0)
    assert all(word in said[0] for word in words)


def test_a_fault_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("lora: {rang: 4}")
    with pytest.raises(ConfigError, match=r"mine\.yaml: unknown key 'lora\.rang'"):
        load_recipe(str(path), ["seed=1"])


def test_an_override_may_mend_a_combination_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("quantization: null\nlora: {init: loftq}")
    assert load_recipe(str(path), ["lora.init=default"]).lora.init == "default"


def test_an_unknown_recipe_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'embedded'"):
        load_recipe("embeded")


@pytest.mark.parametrize("name", recipe_names())
def test_the_saved_recipe_is_the_same_recipe(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_recipe(recipe))
    assert load_recipe(str(path)) == recipe
    assert load_recipe(str(path)).hash == recipe.hash
