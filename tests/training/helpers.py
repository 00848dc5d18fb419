"""A small corpus, recipes that fit it, and stand-ins for what Ray provides."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.state import AcceleratorState

from captioning.base_models import load_tokenizer, resolve
from captioning.corpus import Sample, write_corpus
from training import model
from training.checkpoints import Checkpoint, CheckpointFolder
from training.data import Example, tokenize
from training.loop import Loop
from training.recipe import Recipe
from training.worker import make_accelerator, text_of

_SHAPES = {
    "circle": '<circle cx="{x}" cy="50" r="20" fill="{colour}"/>',
    "square": '<rect x="{x}" y="30" width="30" height="30" fill="{colour}"/>',
}


def samples(number: int, seed: int = 0) -> list[Sample]:
    """Drawings of different prompt lengths, each with two references."""
    rng = random.Random(seed)
    return [_sample(f"{seed}-{index}", rng) for index in range(number)]


def _sample(sample_id: str, rng: random.Random) -> Sample:
    colour, shape = rng.choice(("red", "green", "blue")), rng.choice(list(_SHAPES))
    marks = [_SHAPES[shape].format(x=rng.randint(20, 70), colour=colour) for _ in range(rng.randint(1, 3))]
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">{"".join(marks)}</svg>'
    return Sample(
        id=sample_id, svg=svg, references=(f"A {colour} {shape}.", f"{shape}s, {len(marks)} of them")
    )


def examples(model_folder: Path, number: int, seed: int = 0) -> list[Example]:
    return tokenize(samples(number, seed), load_tokenizer(resolve(str(model_folder))), None).examples


def write_splits(folder: Path, *, train: int = 48, validation: int = 12) -> dict[str, str]:
    """Corpus files; returns the `corpus` section of a recipe."""
    paths = {"train": folder / "train.jsonl", "validation": folder / "validation.jsonl"}
    write_corpus(paths["train"], samples(train, seed=1))
    write_corpus(paths["validation"], samples(validation, seed=2))
    return {split: str(path) for split, path in paths.items()}


def recipe_for(model_folder: Path, **changes: Any) -> Recipe:
    """NF4 and all else as in the defaults, but quick, and in bfloat16 on every processor."""
    settings: dict[str, Any] = {
        "model": str(model_folder),
        "precision": "bf16",
        "epochs": 1,
        "activation_checkpointing": False,
        "optimizer": {"learning_rate": 3e-3},
    }
    return Recipe.model_validate(settings | changes)


def exact(**changes: Any) -> dict[str, Any]:
    """Arithmetic in float32 without quantization or dropout, for comparisons of numbers."""
    return {"quantization": None, "precision": "fp32", "lora": {"dropout": 0.0}} | changes


def loop_for(
    recipe: Recipe, train: list[Example], validation: list[Example], store: CheckpointFolder, **options: Any
) -> Loop:
    """A loop of one worker in this process."""
    accelerator = fresh_accelerator(recipe)
    built = model.build(recipe, resolve(recipe.model), accelerator.device)
    tokenizer = load_tokenizer(resolve(recipe.model))
    return Loop(
        recipe, built, accelerator, train=train, validation=validation, store=store,
        text_of=partial(text_of, tokenizer), **options,
    )  # fmt: skip


def fresh_accelerator(recipe: Recipe) -> Accelerator:
    AcceleratorState._reset_state(reset_partial_state=True)  # it is one per process otherwise
    return make_accelerator(recipe, "cpu")


class Interrupted(Exception):
    """Stands for a worker that is killed."""


class DyingStore(CheckpointFolder):
    """Fails like a killed worker after the checkpoint of a step."""

    def __init__(self, folder: Path, *, die_after_step: int) -> None:
        super().__init__(folder, keep=9)
        self._die_after_step = die_after_step

    def save(self, checkpoint: Checkpoint) -> None:
        super().save(checkpoint)
        if checkpoint.progress.step == self._die_after_step:
            raise Interrupted
