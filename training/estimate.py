"""A worker's memory by part for a recipe and its variations, and which variation would fit a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from transformers import PretrainedConfig

from training import memory, model
from training.recipe import Recipe, flat

GIB = 1024**3

_CUDA_CONTEXT_GIB = 0.75  # kernels, workspaces, fragmentation
_SHORTEST = 256  # tokens; advice goes no further down


@dataclass(frozen=True)
class Lengths:
    """Tokens of the longest samples, which a batch may be full of."""

    training: int  # prompt and completion
    validation: int
    completion: int

    def limited(self, max_tokens: int | None) -> Lengths:
        limit = max_tokens or max(self.training, self.validation)
        return Lengths(*(min(length, limit) for length in (self.training, self.validation, self.completion)))


class Estimate:
    """Counts of a recipe's model, and the memory of one worker for variations of the recipe.

    Raises:
        ConfigError: the recipe does not suit the model, or the model's step cannot be foreseen.
    """

    def __init__(self, recipe: Recipe, config: PretrainedConfig, lengths: Lengths) -> None:
        self.lengths = lengths
        self._recipe = recipe
        self._config = config
        self._base = model.on_meta(config)
        self.adapted = model.with_lora(model.on_meta(config), recipe.lora, meta=True)
        self._weights = list(model.trainable(self.adapted).values())
        self.trainable = sum(weight.numel() for weight in self._weights)
        self.total = sum(weight.numel() for weight in self._base.parameters())
        linear = memory.quantized_weights(self._base) if recipe.quantization else []
        self.quantized = sum(weight.numel() for weight in linear)
        self._on_gpu = recipe.resources.device != "cpu"

    @cached_property
    def _rehearsal(self) -> memory.Rehearsal:
        return memory.Rehearsal(self._recipe, self._config, fused_dropout=self._on_gpu)

    def gib(self, recipe: Recipe) -> dict[str, float]:
        """By part, with their `total`, from which `host_memory` is left out."""
        lengths = self.lengths.limited(recipe.max_tokens)
        step = self._rehearsal.training(
            recipe.batch_size,
            lengths.training,
            lengths.completion,
            checkpointing=recipe.activation_checkpointing,
        )
        validation = max(
            self._rehearsal.validation(recipe.validation.batch_size, lengths.validation, lengths.completion),
            memory.captions_bytes(self._config, recipe, lengths.validation),
        )
        gradients, optimizer, host = self._optimizer_bytes(recipe)
        parts = {
            "base_weights": memory.weight_bytes(self._base, recipe),
            "adapter": 4 * self.trainable,
            "gradients": gradients,
            "optimizer": optimizer,
            "activations": step.activations,
            "logits": step.logits,
            "temporary": step.temporary,
            "dequantized_layer": memory.dequantized_bytes(self._base, recipe),
            "validation": max(0.0, validation - step.peak),  # beyond what a training step takes
            "cuda_context": _CUDA_CONTEXT_GIB * GIB if self._on_gpu else 0.0,
        }
        total = {"total": sum(parts.values())} | ({"host_memory": host} if host else {})
        return {part: size / GIB for part, size in (parts | total).items()}

    def changes_that_fit(self, limit_gib: float) -> list[str] | None:
        """Overrides that bring the recipe under the limit, none of which could be left out; None: none do."""
        chain: list[dict[str, Any]] = []
        least = self._gib_with(chain)
        for change in self._lighter():
            longer = [earlier for earlier in chain if earlier.keys() != change.keys()] + [change]
            if (total := self._gib_with(longer)) < least:
                chain, least = longer, total
            if least <= limit_gib:
                return _words(self._recipe, self._recipe.model_copy(update=self._needed(chain, limit_gib)))
        return None

    def _needed(self, chain: list[dict[str, Any]], limit_gib: float) -> dict[str, Any]:
        for change in reversed(chain):
            shorter = [other for other in chain if other is not change]
            if self._gib_with(shorter) <= limit_gib:
                chain = shorter
        return _merged(chain)

    def _gib_with(self, changes: list[dict[str, Any]]) -> float:
        return self.gib(self._recipe.model_copy(update=_merged(changes)))["total"]

    def _lighter(self) -> Iterator[dict[str, Any]]:
        """Changes in the order of what they cost: first those that leave the result as it is."""
        recipe = self._recipe
        validate_singly = {"validation": recipe.validation.model_copy(update={"batch_size": 1})}
        show_nothing = {"validation": recipe.validation.model_copy(update={"batch_size": 1, "captions": 0})}
        yield validate_singly
        yield show_nothing
        yield {"activation_checkpointing": True}
        samples = recipe.batch_size * recipe.accumulation
        for size in range(recipe.batch_size - 1, 0, -1):
            if samples % size == 0:
                yield {"batch_size": size, "accumulation": samples // size}
        yield validate_singly  # may be what counts by now
        yield show_nothing
        yield {"quantization": recipe.quantization or "nf4"}
        length = max(self.lengths.training, self.lengths.validation) // 2
        while length >= _SHORTEST:
            yield {"max_tokens": length}
            length //= 2

    def _optimizer_bytes(self, recipe: Recipe) -> tuple[float, float, float]:
        """Of gradients and optimizer on the GPU, and of what DeepSpeed moves to the host."""
        size = 4 * self.trainable
        moments = memory.optimizer_bytes(recipe.optimizer.name, self._weights)
        workers = recipe.resources.workers
        if recipe.deepspeed is None:
            return size * (2 if workers > 1 else 1), moments, 0.0  # with the buckets that DDP averages in
        # ZeRO-2 keeps a bucket of all gradients while they are computed, and a second copy of the weights.
        if recipe.deepspeed.offload_optimizer:
            return size, 0.0, (size + size + 8 * self.trainable) / workers  # its Adam has 32 bits
        return size + size / workers, (moments + size) / workers, 0.0


def _merged(changes: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: value for change in changes for key, value in change.items()}


def _words(before: Recipe, after: Recipe) -> list[str]:
    """The overrides that make one recipe of the other."""
    old = flat(before.model_dump(mode="json"))
    new = flat(after.model_dump(mode="json"))
    return [f"{key}={str(value).lower()}" for key, value in new.items() if value != old.get(key)]
