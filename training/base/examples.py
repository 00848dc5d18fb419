"""From pairs to batches: token ids of prompts and captions, and a small picture of each drawing."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from captioning.atomic import replacing_file
from captioning.prompt import completion_ids, prompt_ids
from training.base.corpus import Pair, common_concepts
from training.base.picture import picture
from training.base.recipe import BaseRecipe
from training.corpora.processes import spread

IGNORED = -100  # the label of what no loss is taken of
_WIDTH_STEP = 16

Ids = Sequence[int]


@dataclass(frozen=True)
class Example:
    """One drawing, in arrays: there are a hundred thousand of them."""

    prompt: Ids
    completions: Sequence[Ids]  # one for each reference
    picture: bytes
    is_scene: bool
    is_rare: bool = False  # an icon of what one family alone draws
    is_validation: bool = False


class Row(NamedTuple):
    """A drawing with one of its captions."""

    prompt: Ids
    completion: Ids
    picture: bytes

    @property
    def width(self) -> int:
        """Tokens, rounded up: a batch of a new shape costs new kernels, so shapes are few."""
        return math.ceil((len(self.prompt) + len(self.completion)) / _WIDTH_STEP) * _WIDTH_STEP


class Batch(NamedTuple):
    ids: Tensor  # (rows, width), padded on the right: causal attention needs no mask then
    labels: Tensor  # (rows, width)
    starts: Tensor  # (rows,): where the prompt ends and the caption begins
    pictures: Tensor  # (rows, pixels), from 0 for bare paper to 1 for ink

    def to(self, device: str) -> Batch:
        return Batch(*(tensor.to(device) for tensor in self))


def encode(
    pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerFast, recipe: BaseRecipe, processes: int = 1
) -> list[Example]:
    """What the model reads and writes of every pair whose prompt fits and whose drawing can be drawn."""
    known = common_concepts(pairs) | {""}
    encoded = spread(partial(_encode, tokenizer), pairs, processes, chunk=500)
    return [
        Example(
            prompt,
            completions,
            drawn,
            is_scene=pair.is_scene,
            is_rare=pair.concept not in known,
            is_validation=pair.is_validation,
        )
        for pair, (prompt, completions, drawn) in zip(pairs, encoded, strict=True)
        if drawn and len(prompt) <= recipe.max_prompt_tokens
    ]


def _encode(tokenizer: PreTrainedTokenizerFast, pair: Pair) -> tuple[Ids, list[Ids], bytes | None]:
    completions: list[Ids] = [array("H", completion_ids(tokenizer, text)) for text in pair.references]
    return array("H", prompt_ids(tokenizer, pair.canonical)), completions, picture(pair.canonical)


def write_examples(path: Path, examples: Sequence[Example]) -> None:
    """A Parquet file, from which a run that goes on is ready in seconds."""
    ids = pa.list_(pa.uint16())
    types = {"prompt": ids, "completions": pa.list_(ids), "picture": pa.binary()}
    types |= dict.fromkeys(("is_scene", "is_rare", "is_validation"), pa.bool_())
    columns = {
        name: pa.array([getattr(example, name) for example in examples], type) for name, type in types.items()
    }
    with replacing_file(path) as unfinished:
        pq.write_table(pa.table(columns), unfinished)


def read_examples(path: Path) -> list[Example]:
    return [
        Example(
            **row
            | {"prompt": array("H", row["prompt"])}
            | {"completions": [array("H", completion) for completion in row["completions"]]}
        )
        for rows in pq.ParquetFile(path).iter_batches(batch_size=5_000)
        for row in rows.to_pylist()
    ]


def batches(examples: Sequence[Example], recipe: BaseRecipe, epoch: int) -> Iterator[list[Row]]:
    """Batches of rows of like length; one reference of each drawing an epoch, mostly the first.

    An epoch has all icons of what several families draw, and a share of the others and of the scenes. The
    first epochs have short drawings only: where there is little to see, a model soon learns where to look.
    """
    rng = random.Random(f"{recipe.seed} {epoch}")
    if epoch < len(recipe.first_lengths):
        examples = [one for one in examples if len(one.prompt) <= recipe.first_lengths[epoch]]
    icons = [example for example in examples if not example.is_scene]
    icons = [icon for icon in icons if not icon.is_rare or rng.random() < recipe.rare_share]
    scenes = [example for example in examples if example.is_scene]
    n_scenes = min(len(scenes), int(len(icons) * recipe.scene_share / (1 - recipe.scene_share)))
    chosen = icons + rng.sample(scenes, n_scenes)
    rows = [
        Row(example.prompt, _completion(example.completions, recipe.first_share, rng), example.picture)
        for example in chosen
    ]
    rng.shuffle(rows)
    by_width: dict[int, list[Row]] = {}
    found: list[list[Row]] = []
    for row in rows:
        batch = by_width.setdefault(row.width, [])
        batch.append(row)
        if len(batch) == recipe.batch_tokens // row.width:
            found.append(by_width.pop(row.width))
    found.extend(by_width.values())
    rng.shuffle(found)
    yield from found


def _completion(completions: Sequence[Ids], first_share: float, rng: random.Random) -> Ids:
    """The first reference more often than the others: of many ways to say it, a model should prefer one."""
    return completions[0] if rng.random() < first_share else rng.choice(completions)


def as_batch(rows: Sequence[Row], pad_id: int) -> Batch:
    """The rows as tensors."""
    width = max(row.width for row in rows)
    ids = torch.full((len(rows), width), pad_id)
    labels = torch.full((len(rows), width), IGNORED)
    for i, (prompt, completion, _) in enumerate(rows):
        start, end = len(prompt), len(prompt) + len(completion)
        ids[i, :end] = torch.tensor([*prompt, *completion])
        labels[i, start - 1 : end - 1] = torch.tensor(completion)
    pictures = np.stack([np.frombuffer(row.picture, np.uint8) for row in rows])
    starts = torch.tensor([len(row.prompt) - 1 for row in rows])
    return Batch(ids, labels, starts, torch.from_numpy(pictures) / 255)
