from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from captioning.base_models import load_tokenizer, resolve
from captioning.corpus import Sample
from captioning.errors import CorpusError
from captioning.pipeline import prepare
from captioning.prompt import end_token_id
from tests.training.helpers import examples, samples
from training.data import (
    IGNORED,
    Example,
    Schedule,
    Step,
    collate,
    tokenize,
    validation_batches,
)


def test_loss_falls_on_the_caption_and_its_end_token_only(tiny_llama: Path) -> None:
    tokenizer = load_tokenizer(resolve(str(tiny_llama)))
    short, long = samples(2)
    long = long.model_copy(update={"references": ("Rather more words about the same.",)})
    batch = collate(tokenize([short, long], tokenizer, None).examples)
    for row, sample in enumerate((short, long)):
        labels = batch.labels[row][batch.labels[row] != IGNORED]
        assert labels[-1] == end_token_id(tokenizer)
        assert tokenizer.decode(labels[:-1]) == sample.references[0]
        tokens = batch.input_ids[row][batch.attention_mask[row] == 1].tolist()
        assert tokens == prepare(sample.svg, tokenizer).prompt_ids + labels.tolist()
        assert batch.position_ids[row][batch.attention_mask[row] == 1].tolist() == list(range(len(tokens)))


def test_samples_that_do_not_fit_are_dropped_and_counted_never_cut(tiny_llama: Path) -> None:
    tokenizer = load_tokenizer(resolve(str(tiny_llama)))
    sample, other = samples(2)
    prompt = len(prepare(sample.svg, tokenizer).prompt_ids)
    endless = "many words " * 200
    limit = prompt + 40
    found = tokenize(
        [
            sample.model_copy(update={"references": (endless, "Two words")}),
            other.model_copy(update={"references": (endless,)}),
            Sample(id="no svg", svg="plain text", references=("Nothing.",)),
        ],
        tokenizer,
        limit,
    )
    assert [example.id for example in found.examples] == [sample.id]
    assert tokenizer.decode(list(found.examples[0].completions[0][:-1])) == "Two words"
    assert found.long_references == 1
    assert found.dropped == Counter({f"more than {limit} tokens": 1, "SVG refused: not_svg": 1})


def test_a_caption_without_tokens_is_refused(tiny_llama: Path) -> None:
    tokenizer = load_tokenizer(resolve(str(tiny_llama)))
    spelled = samples(1)[0].model_copy(update={"references": ("<|eot_id|>",)})
    with pytest.raises(CorpusError, match="sample '0-0'"):
        tokenize([spelled], tokenizer, None)
    with pytest.raises(CorpusError, match="nothing to learn"):
        Example("empty", [1, 2], [[]])


def test_references_take_turns() -> None:
    example = Example("a", [1], [[2], [3], [4]])
    assert [example.completion(epoch) for epoch in range(4)] == [[2], [3], [4], [2]]


def _schedule(workers: int = 2, seed: int = 0, number: int = 103) -> tuple[Schedule, list[Example]]:
    made = [Example(str(i), [1] * (20 + i * 7 % 90), [[2, 3]]) for i in range(number)]
    return Schedule(made, batch_size=4, accumulation=2, workers=workers, seed=seed), made


def test_every_sample_is_read_at_most_once_an_epoch_and_epochs_differ() -> None:
    schedule, made = _schedule()
    assert schedule.steps_per_epoch == len(made) // 16
    epochs = []
    for epoch in range(2):
        steps = [schedule.step(epoch * schedule.steps_per_epoch + i) for i in range(schedule.steps_per_epoch)]
        assert all(step.epoch == epoch for step in steps)
        read = [i for step in steps for workers in step.batches for batch in workers for i in batch]
        assert len(set(read)) == len(read) == schedule.steps_per_epoch * 16
        epochs.append(read)
    assert epochs[0] != epochs[1]
    assert set(epochs[0]) != set(epochs[1])  # what waited comes in


def test_the_schedule_follows_from_seed_and_step_alone() -> None:
    forwards, _ = _schedule()
    backwards, _ = _schedule()
    steps = range(forwards.steps_per_epoch * 2)
    assert [forwards.step(i) for i in steps] == [backwards.step(i) for i in reversed(steps)][::-1]
    assert _schedule(seed=1)[0].step(0) != forwards.step(0)


def test_batches_are_of_like_length() -> None:
    schedule, _ = _schedule(number=640)
    assert schedule.padding_share() < 0.1


def test_the_tokens_of_a_step_are_counted_with_and_without_padding() -> None:
    made = [Example(str(i), [1] * length, [[2, 3]]) for i, length in enumerate((3, 8, 5, 6))]
    schedule = Schedule(made, batch_size=2, accumulation=1, workers=2, seed=0)
    step = Step(0, [[[0, 1], [2, 3]]])
    assert schedule.tokens(step) == (5 + 10 + 7 + 8, 2 * 10 + 2 * 8)
    assert schedule.label_tokens(step) == 8


def test_too_few_samples_for_a_step_are_refused() -> None:
    with pytest.raises(CorpusError, match="15 training samples do not fill one step"):
        _schedule(number=15)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_share_the_validation_split_without_gap_or_overlap(workers: int, tiny_llama: Path) -> None:
    split = examples(tiny_llama, 10)
    tokens = [
        batch.label_tokens
        for rank in range(workers)
        for batch in validation_batches(split, batch_size=3, rank=rank, workers=workers)
    ]
    assert sum(tokens) == sum(len(example.completion(0)) for example in split)


def test_padding_is_on_the_left() -> None:
    batch = collate([Example("a", [5, 6, 7], [[8]]), Example("b", [5], [[8, 9]])])
    assert torch.equal(batch.input_ids, torch.tensor([[5, 6, 7, 8], [0, 5, 8, 9]]))
    assert torch.equal(batch.labels, torch.tensor([[IGNORED, 8], [8, 9]]))
