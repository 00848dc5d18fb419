"""From corpus to batches: token ids with the loss on the caption only, and which samples a step reads.

Nothing is ever cut: a sample over the token limit is dropped and counted. Which samples a step reads
follows from seed and step number alone, so a resumed run, or another worker, needs no sampler state.
"""

from __future__ import annotations

import random
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar

import torch
from transformers import PreTrainedTokenizerBase

from captioning.corpus import Sample
from captioning.errors import CorpusError
from captioning.pipeline import prepare
from captioning.prompt import completion_ids
from rendering import SvgRejected
from training.recipe import Recipe

T = TypeVar("T")
Tokens = Sequence[int]  # an array of C ints: a large corpus as lists would take gigabytes

IGNORED = -100  # a label without loss
_GROUPED_BATCHES = 64  # batches are sorted by length inside groups of this many, so that each stays random

# Shapes: B samples of a batch, T tokens of its longest sample, C tokens of its longest completion.


@dataclass(frozen=True)
class Example:
    """One sample as token ids: a prompt, and a completion for each of its references."""

    id: str
    prompt: Tokens
    completions: list[Tokens]

    def __post_init__(self) -> None:
        if not self.completions or not all(self.completions):
            raise CorpusError(f"sample '{self.id}' has a caption without tokens: there is nothing to learn")

    def completion(self, epoch: int) -> Tokens:
        """The completion to learn in that epoch: the references take turns, the first one first."""
        return self.completions[epoch % len(self.completions)]

    def length(self, epoch: int) -> int:
        return len(self.prompt) + len(self.completion(epoch))


@dataclass
class Tokenized:
    """A split as token ids, and how many samples were dropped for which reason."""

    examples: list[Example] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    long_references: int = 0  # left out of samples that keep another reference

    def add(self, other: Tokenized) -> None:
        self.examples += other.examples
        self.dropped += other.dropped
        self.long_references += other.long_references


def tokenize(
    samples: Iterable[Sample], tokenizer: PreTrainedTokenizerBase, max_tokens: int | None
) -> Tokenized:
    """Samples whose prompt and caption fit into `max_tokens`; SVGs that `rendering` refuses are dropped.

    Raises:
        CorpusError: a caption without a token to learn.
    """
    result = Tokenized()
    for sample in samples:
        try:
            prompt = prepare(sample.svg, tokenizer).prompt_ids
        except SvgRejected as error:
            result.dropped[f"SVG refused: {error.code}"] += 1
            continue
        completions = [_completion(tokenizer, sample, reference) for reference in sample.references]
        fitting = [ids for ids in completions if max_tokens is None or len(prompt) + len(ids) <= max_tokens]
        if not fitting:
            result.dropped[f"more than {max_tokens} tokens"] += 1
            continue
        result.long_references += len(completions) - len(fitting)
        result.examples.append(Example(sample.id, array("i", prompt), fitting))
    return result


def _completion(tokenizer: PreTrainedTokenizerBase, sample: Sample, reference: str) -> Tokens:
    try:
        return array("i", completion_ids(tokenizer, reference))
    except CorpusError as error:
        raise CorpusError(f"sample '{sample.id}': {error}") from error


@dataclass(frozen=True)
class Batch:
    """Samples padded on the left, so that all completions end at the last position."""

    input_ids: torch.Tensor  # (B, T)
    attention_mask: torch.Tensor  # (B, T), 0 where padded
    position_ids: torch.Tensor  # (B, T), 0 at the first token of each sample
    labels: torch.Tensor  # (B, C), IGNORED in front of shorter completions

    @property
    def label_tokens(self) -> int:
        return int((self.labels != IGNORED).sum())

    def to(self, device: torch.device) -> Batch:
        return Batch(*(tensor.to(device) for tensor in vars(self).values()))


def collate(examples: Sequence[Example], epoch: int = 0) -> Batch:
    pairs = [(example.prompt, example.completion(epoch)) for example in examples]
    width = max(len(prompt) + len(completion) for prompt, completion in pairs)
    label_width = max(len(completion) for _, completion in pairs)
    input_ids = torch.zeros(len(pairs), width, dtype=torch.long)
    attention_mask = torch.zeros_like(input_ids)
    labels = torch.full((len(pairs), label_width), IGNORED)
    for row, (prompt, completion) in enumerate(pairs):
        tokens = [*prompt, *completion]
        input_ids[row, width - len(tokens) :] = torch.tensor(tokens)
        attention_mask[row, width - len(tokens) :] = 1
        labels[row, label_width - len(completion) :] = torch.tensor(completion)
    position_ids = (attention_mask.cumsum(-1) - 1).clamp(min=0)
    return Batch(input_ids, attention_mask, position_ids, labels)


@dataclass(frozen=True)
class Step:
    """What one optimizer step reads: sample indices as [forward pass][worker][place in the batch]."""

    epoch: int
    batches: list[list[list[int]]]


class Schedule:
    """Which samples each step reads, the same for every worker that asks.

    An epoch is a shuffle; neighbours are then sorted by length, so that little is padded, and the
    batches shuffled again. What does not fill an epoch's last step waits for the next shuffle.
    """

    def __init__(
        self, examples: Sequence[Example], *, batch_size: int, accumulation: int, workers: int, seed: int
    ) -> None:
        self._examples = examples
        self._batch_size = batch_size
        self._accumulation = accumulation
        self._workers = workers
        self._seed = seed
        self.steps_per_epoch = len(examples) // (batch_size * accumulation * workers)
        if self.steps_per_epoch == 0:
            raise CorpusError(
                f"{len(examples)} training samples do not fill one step of {batch_size} samples x "
                f"{accumulation} passes x {workers} workers. Add samples, or make batch_size smaller."
            )
        self._batches = lru_cache(maxsize=2)(self._batches_of_epoch)

    def total_steps(self, epochs: int, max_steps: int | None) -> int:
        steps = epochs * self.steps_per_epoch
        return steps if max_steps is None else min(steps, max_steps)

    def step(self, number: int) -> Step:
        epoch, place = divmod(number, self.steps_per_epoch)
        first = place * self._accumulation
        return Step(epoch, self._batches(epoch)[first : first + self._accumulation])

    def label_tokens(self, step: Step) -> int:
        """Tokens that carry loss in the whole step, over all passes and workers."""
        return sum(len(self._examples[i].completion(step.epoch)) for i in _flat(step.batches))

    def padding_share(self, epoch: int = 0) -> float:
        """Part of the tokens of an epoch's batches that are padding, in [0, 1)."""
        used, padded = self.tokens(Step(epoch, self._batches(epoch)))
        return 1 - used / padded

    def tokens(self, step: Step) -> tuple[int, int]:
        """Tokens of a step's samples, over all passes and workers: alone, and with their padding."""
        used = padded = 0
        for indices in (batch for workers in step.batches for batch in workers):
            lengths = [self._examples[i].length(step.epoch) for i in indices]
            used += sum(lengths)
            padded += max(lengths) * len(lengths)
        return used, padded

    def _batches_of_epoch(self, epoch: int) -> list[list[list[int]]]:
        rng = random.Random(f"{self._seed}/{epoch}")
        order = list(range(len(self._examples)))
        rng.shuffle(order)
        order = order[: self.steps_per_epoch * self._accumulation * self._workers * self._batch_size]
        per_pass = self._batch_size * self._workers
        grouped = [
            index
            for group in _chunks(order, per_pass * _GROUPED_BATCHES)
            for index in sorted(group, key=lambda i: self._examples[i].length(epoch))
        ]
        passes = list(_chunks(grouped, per_pass))
        rng.shuffle(passes)
        return [[indices[worker :: self._workers] for worker in range(self._workers)] for indices in passes]


def schedule_of(recipe: Recipe, examples: Sequence[Example]) -> Schedule:
    return Schedule(
        examples,
        batch_size=recipe.batch_size,
        accumulation=recipe.accumulation,
        workers=recipe.resources.workers,
        seed=recipe.seed,
    )


def validation_batches(
    examples: Sequence[Example], *, batch_size: int, rank: int = 0, workers: int = 1
) -> Iterator[Batch]:
    """This worker's share of the batches, sorted by length; each sample with its first reference."""
    by_length = sorted(examples, key=lambda example: example.length(0))
    for chunk in list(_chunks(by_length, batch_size))[rank::workers]:
        yield collate(chunk)


def _chunks(items: Sequence[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def _flat(batches: list[list[list[int]]]) -> Iterator[int]:
    return (index for workers in batches for batch in workers for index in batch)
