"""What a run would take: parameters, the memory of each GPU by part, the steps, and what would fit.

No weights are needed, and for the models of `model_configs/` no network either. Counts are exact, from
shapes on the meta device through peft itself; the memory is an estimate (`training.memory`).
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from transformers import AutoConfig, PretrainedConfig

from captioning.base_models import BaseModelSpec, resolve
from captioning.errors import ConfigError, CorpusError
from training import preflight
from training.data import Tokenized, schedule_of
from training.estimate import GIB, Estimate, Lengths
from training.recipe import Recipe

MODEL_CONFIGS = Path(__file__).parent / "model_configs"
GPU_ON_RECORD_GIB = 48.0

_COMPLETION_TOKENS = 64  # where no corpus says
_MARGIN = 0.1  # of a GPU, which advice leaves free

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Module:
    """Modules of one name and shape that hold trained weights."""

    name: str
    layers: int
    shape: tuple[int, ...]  # of the base model's weight
    trainable_parameters: int  # in all layers together


@dataclass(frozen=True)
class CorpusPlan:
    """The corpus as this recipe and tokenizer read it. An epoch ends with its last full step."""

    samples: int
    validation_samples: int
    dropped: dict[str, int]  # samples of both splits, by reason
    longest_tokens: int  # prompt and completion
    longest_validation_tokens: int
    longest_completion_tokens: int
    tokens_per_epoch: int  # prompts and completions, without padding
    label_tokens_per_epoch: int  # of them those that carry loss
    padding_share: float  # of the tokens that are computed, in [0, 1)
    steps_per_epoch: int
    total_steps: int


@dataclass(frozen=True)
class Gpu:
    """Whether each worker fits its GPU."""

    memory_gib: float
    source: str  # of that figure
    fits: bool
    margin_gib: float  # negative where it does not fit
    changes: list[str] | None  # overrides that make it fit; None: no change of this kind does


@dataclass(frozen=True)
class Plan:
    model: str
    trainable_parameters: int
    total_parameters: int  # of the base model
    trainable_share: float  # of base model and adapter together
    quantized_parameters: int  # held in 4 or 8 bits
    modules: list[Module]
    workers: int
    samples_per_step: int
    lengths: Lengths  # of the longest samples: the memory is for batches of these
    activation_checkpointing: bool
    memory_gib: dict[str, float]  # per worker, by part; their `total` leaves out `host_memory`
    with_checkpointing_gib: dict[str, float]  # the same, whatever the recipe says
    without_checkpointing_gib: dict[str, float]
    gpu: Gpu | None  # None for a run on CPUs
    advice: list[str]
    corpus: CorpusPlan | None
    corpus_missing: str | None  # why


def make_plan(
    recipe: Recipe,
    *,
    gpu_memory_gib: float | None = None,
    read_corpus: bool = True,
    tokens_dir: Path | None = None,
) -> Plan:
    """Token ids of the corpus are kept in `tokens_dir`, if it is given.

    Raises:
        ConfigError: the model's configuration cannot be had, or does not suit the recipe.
    """
    spec = resolve(recipe.model)
    config = model_config(spec)
    corpus, missing = _corpus(recipe, tokens_dir) if read_corpus else (None, "not asked for")
    estimate = Estimate(recipe, config, _lengths(recipe, config, corpus))
    by_choice = {
        choice: estimate.gib(recipe.model_copy(update={"activation_checkpointing": choice}))
        for choice in (True, False)
    }
    chosen = by_choice[recipe.activation_checkpointing]
    return Plan(
        model=spec.id,
        trainable_parameters=estimate.trainable,
        total_parameters=estimate.total,
        trainable_share=estimate.trainable / (estimate.total + estimate.trainable),
        quantized_parameters=estimate.quantized,
        modules=trained_modules(estimate.adapted),
        workers=recipe.resources.workers,
        samples_per_step=recipe.samples_per_step,
        lengths=estimate.lengths,
        activation_checkpointing=recipe.activation_checkpointing,
        memory_gib=_rounded(chosen),
        with_checkpointing_gib=_rounded(by_choice[True]),
        without_checkpointing_gib=_rounded(by_choice[False]),
        gpu=(gpu := _gpu(recipe, estimate, gpu_memory_gib, chosen["total"])),
        advice=list(_advice(recipe, estimate, gpu)),
        corpus=corpus,
        corpus_missing=missing,
    )


def model_config(spec: BaseModelSpec) -> PretrainedConfig:
    """The configuration that ships for a known model, else the model's own; with the attention of a run."""
    shipped = MODEL_CONFIGS / f"{spec.id}.json"
    if shipped.is_file():
        settings = json.loads(shipped.read_text(encoding="utf-8"))
        config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    else:
        try:
            config = AutoConfig.from_pretrained(spec.source)
        except (OSError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ConfigError(
                f"base model '{spec.id}': no configuration in '{spec.source}': {reason}"
            ) from error
    soft_capped = getattr(config, "attn_logit_softcapping", None)  # which sdpa cannot do
    config._attn_implementation = "eager" if soft_capped else spec.attn_implementation
    return config


def trained_modules(adapted: PeftModel) -> list[Module]:
    """Where the trained weights are, in the model's order; together these are all of them."""
    found: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for name, module in adapted.named_modules():
        if isinstance(module, BaseTunerLayer):
            base = module.get_base_layer()
        elif isinstance(module, AuxiliaryTrainingWrapper):
            base = module.original_module
        else:
            continue
        shape = tuple(cast(torch.Tensor, base.weight).shape)
        count = sum(weight.numel() for weight in module.parameters() if weight.requires_grad)
        found.setdefault((name.rpartition(".")[2], shape), []).append(count)
    return [Module(name, len(counts), shape, sum(counts)) for (name, shape), counts in found.items()]


def _corpus(recipe: Recipe, tokens_dir: Path | None) -> tuple[CorpusPlan | None, str | None]:
    """The corpus in figures, or why there are none."""
    _log.info("reading the corpus (--no-corpus leaves it out) ...")
    try:
        with tempfile.TemporaryDirectory() as folder:
            cache = tokens_dir or Path(folder)
            read = preflight.splits(recipe, resolve(recipe.model), Path(folder), cache)
        return _figures(recipe, read["train"].tokenized, read["validation"].tokenized), None
    except (ConfigError, CorpusError) as error:
        return None, str(error)


def _figures(recipe: Recipe, train: Tokenized, validation: Tokenized) -> CorpusPlan:
    schedule = schedule_of(recipe, train.examples)
    steps = [schedule.step(number) for number in range(schedule.steps_per_epoch)]
    used, padded = (sum(counts) for counts in zip(*map(schedule.tokens, steps), strict=True))
    examples = train.examples + validation.examples
    return CorpusPlan(
        samples=len(train.examples),
        validation_samples=len(validation.examples),
        dropped=dict(train.dropped + validation.dropped),
        longest_tokens=preflight.report(train).longest_tokens,
        longest_validation_tokens=preflight.report(validation).longest_tokens,
        longest_completion_tokens=max(len(ids) for example in examples for ids in example.completions),
        tokens_per_epoch=used,
        label_tokens_per_epoch=sum(map(schedule.label_tokens, steps)),
        padding_share=1 - used / padded,
        steps_per_epoch=schedule.steps_per_epoch,
        total_steps=schedule.total_steps(recipe.epochs, recipe.max_steps),
    )


def _lengths(recipe: Recipe, config: PretrainedConfig, corpus: CorpusPlan | None) -> Lengths:
    """Of the corpus, or else the most that the recipe and the model admit."""
    if corpus:
        return Lengths(
            corpus.longest_tokens, corpus.longest_validation_tokens, corpus.longest_completion_tokens
        )
    context = config.get_text_config().max_position_embeddings
    longest = min(recipe.max_tokens or context, context)
    return Lengths(longest, longest, min(longest, _COMPLETION_TOKENS))


def _gpu(recipe: Recipe, estimate: Estimate, asked_gib: float | None, total_gib: float) -> Gpu | None:
    if recipe.resources.device == "cpu":
        return None
    size, source = _gpu_memory(asked_gib)
    fits = total_gib <= size
    changes = [] if fits else estimate.changes_that_fit(size * (1 - _MARGIN))
    return Gpu(round(size, 2), source, fits, round(size - total_gib, 2), changes)


def _gpu_memory(asked_gib: float | None) -> tuple[float, str]:
    if asked_gib is not None:
        return asked_gib, "as given"
    if count := torch.cuda.device_count():
        sizes = (torch.cuda.get_device_properties(index).total_memory for index in range(count))
        return min(sizes) / GIB, "the smallest GPU of this machine"
    return GPU_ON_RECORD_GIB, "no GPU is visible: the hardware on record"


def _advice(recipe: Recipe, estimate: Estimate, gpu: Gpu | None) -> Iterator[str]:
    if gpu and gpu.fits and recipe.activation_checkpointing:
        without = estimate.gib(recipe.model_copy(update={"activation_checkpointing": False}))["total"]
        if without <= gpu.memory_gib * (1 - _MARGIN):
            yield f"activation_checkpointing=false fits, too ({without:.1f} GiB), and is 30 to 44 % faster"
    if recipe.deepspeed:
        without = estimate.gib(recipe.model_copy(update={"deepspeed": None}))["total"]
        change = estimate.gib(recipe)["total"] - without
        yield (
            f"deepspeed changes each GPU's share by {change:+.2f} GiB, since ZeRO-2 does not shard frozen "
            "weights: deepspeed=null is simpler"
        )


def _rounded(parts: dict[str, float]) -> dict[str, float]:
    return {part: round(size, 3) for part, size in parts.items()}
