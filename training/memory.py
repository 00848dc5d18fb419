"""The memory that one worker takes, in bytes, without a weight being loaded.

Weights and optimizer follow from shapes. A step is rehearsed: the model's own code, peft, autocast and
autograd run on tensors that have a shape but no contents (torch's fake tensors), and each storage counts
from its making to its end. So whatever a library keeps for the backward pass is in the figures.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import torch
from peft import PeftModel
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AttentionInterface, PretrainedConfig, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from captioning.errors import ConfigError
from captioning.memory import cache_bytes
from training import model
from training.data import Batch
from training.loop import MAX_CAPTION_TOKENS, completion_loss
from training.recipe import Recipe

Phases = tuple[float, float, float]  # bytes: see Rehearsal._step

_DEPTHS = (2, 4)  # layers that are rehearsed; what each further one adds follows from the difference
_UNMASKED = "sdpa_without_mask"  # transformers makes no mask for a name that it has none for


@dataclass(frozen=True)
class StepMemory:
    """Bytes that a step needs beyond weights, gradients and optimizer; the sum of all three is its peak."""

    activations: float  # what lives when the decoder has run, most of it kept for the backward pass
    logits: float  # beyond these, while the head and the loss are computed, forward and backward
    temporary: float  # beyond both, at the busiest moment elsewhere: in a layer that is computed again

    @property
    def peak(self) -> float:
        return self.activations + self.logits + self.temporary


def weight_bytes(base: PreTrainedModel, recipe: Recipe) -> int:
    """Of the base model as the recipe loads it."""
    quantized = set(quantized_weights(base)) if recipe.quantization else set()
    plain = sum(weight.numel() for weight in base.parameters() if weight not in quantized)
    return plain * _dtype(recipe).itemsize + sum(_quantized_bytes(weight, recipe) for weight in quantized)


def quantized_weights(base: PreTrainedModel) -> list[torch.Tensor]:
    """Weights of the linear layers but the head: what bitsandbytes quantizes."""
    head = base.get_output_embeddings()
    linear = (layer for layer in base.modules() if isinstance(layer, nn.Linear) and layer is not head)
    return [layer.weight for layer in linear]


def dequantized_bytes(base: PreTrainedModel, recipe: Recipe) -> int:
    """Of the largest quantized weight in bfloat16: one at a time is multiplied with."""
    return 2 * max(weight.numel() for weight in quantized_weights(base)) if recipe.quantization else 0


def captions_bytes(config: PretrainedConfig, recipe: Recipe, prompt_tokens: int) -> int:
    """Of the cache that the captions of a validation are written in: slots of a power of two tokens."""
    slot: int = 2 ** math.ceil(math.log2(prompt_tokens + MAX_CAPTION_TOKENS))
    return recipe.validation.captions * slot * cache_bytes(config, _dtype(recipe))


def optimizer_bytes(name: str, weights: Iterable[torch.Tensor]) -> int:
    """Of both moments. bitsandbytes keeps those of less than 4,096 weights in 32 bits."""
    return sum(
        weight.numel() * 8
        if name == "adamw" or weight.numel() < 4096
        else 2 * (weight.numel() + 4 * math.ceil(weight.numel() / 256))
        for weight in weights
    )


def _quantized_bytes(weight: torch.Tensor, recipe: Recipe) -> int:
    if recipe.quantization == "int8":
        return weight.numel() + 4 * weight.shape[0]  # a scale for each row
    blocks = math.ceil(weight.numel() / 64)
    scales = 4 * blocks
    if recipe.double_quantization:  # a byte for a block, four for 256 blocks, their code book and mean
        scales = blocks + 4 * (math.ceil(blocks / 256) + 256 + 1)
    return math.ceil(weight.numel() / 2) + scales + 4 * 16  # and the 16 values that 4 bits stand for


class Rehearsal:
    """Steps of one model and recipe; batch, lengths and checkpointing may be varied.

    Raises:
        ConfigError: the model's code asks for values, which tensors without contents have not.
    """

    def __init__(self, recipe: Recipe, config: PretrainedConfig, *, fused_dropout: bool) -> None:
        self._config = config
        self._layers: int = config.get_text_config().num_hidden_layers
        self._autocast = torch.autocast("cpu", torch.bfloat16, enabled=_dtype(recipe) == torch.bfloat16)
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)
        depths = _DEPTHS if self._layers > max(_DEPTHS) else (self._layers,)
        self._models = {depth: self._adapted(recipe, depth, fused_dropout) for depth in depths}
        AttentionInterface.register(_UNMASKED, sdpa_attention_forward)
        self.training = cache(self._training)
        self.validation = cache(self._validation)

    def _training(self, batch_size: int, tokens: int, labels: int, *, checkpointing: bool) -> StepMemory:
        """Of a forward and backward pass over samples of `tokens`, the last `labels` of them the caption."""
        batch = (batch_size, tokens, labels)
        with _rehearsing():
            by_depth = [self._step(adapted, batch, checkpointing) for adapted in self._models.values()]
        kept, head, peak = self._extrapolated(by_depth)
        return StepMemory(kept, head - kept, max(0.0, peak - head))

    def _validation(self, batch_size: int, tokens: int, labels: int) -> float:
        """The most bytes of a pass without gradients; they do not grow with the number of layers."""
        adapted = next(iter(self._models.values())).eval()
        with _rehearsing(), self._fake, torch.no_grad(), _Storages(_own(adapted)) as storages, self._autocast:
            self._loss(adapted, (batch_size, tokens, labels))
        return float(storages.peak)

    def _step(self, adapted: PeftModel, batch: tuple[int, int, int], checkpointing: bool) -> Phases:
        """Bytes when the head begins, the most while head and loss are at work, and the most otherwise."""
        base = _base(adapted.train())
        base.activation_checkpointing_disable()
        if checkpointing:
            base.activation_checkpointing_enable({"use_reentrant": False})
        phases: list[tuple[float, float]] = []
        with self._fake, _Storages(_own(adapted)) as storages:

            def head_begins(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
                phases.append(storages.next_phase())
                inputs[0].register_hook(lambda _: phases.append(storages.next_phase()))

            with base.get_output_embeddings().register_forward_pre_hook(head_begins):
                with self._autocast:
                    loss = self._loss(adapted, batch)
                loss.backward()
        (kept, forward), (_, head) = phases
        return kept, head, max(forward, storages.peak)

    def _loss(self, adapted: PeftModel, batch: tuple[int, int, int]) -> torch.Tensor:
        batch_size, tokens, labels = batch
        # That one sample needs no mask transformers finds out from the mask's values, which are none here.
        attention = self._config._attn_implementation
        window = getattr(self._config.get_text_config(), "sliding_window", None) or tokens + 1
        unmasked = attention == "sdpa" and batch_size == 1 and tokens < window
        _base(adapted).set_attn_implementation(_UNMASKED if unmasked else attention)
        ids = torch.zeros(batch_size, tokens, dtype=torch.long)
        return completion_loss(adapted, Batch(ids, torch.ones_like(ids), ids, ids[:, :labels]))

    def _extrapolated(self, by_depth: Sequence[Phases]) -> Phases:
        if len(by_depth) == 1:
            return by_depth[0]
        few, many = _DEPTHS
        further = (self._layers - few) / (many - few)
        kept, head, peak = (a + (b - a) * further for a, b in zip(*by_depth, strict=True))
        return kept, head, peak

    def _adapted(self, recipe: Recipe, depth: int, fused_dropout: bool) -> PeftModel:
        base = model.on_meta(deepcopy(self._config))
        cast(nn.Module, base).to(_dtype(recipe))
        for layers in [part for part in base.modules() if isinstance(part, nn.ModuleList)]:
            if len(layers) == self._layers:
                del layers[depth:]
        adapted = model.with_lora(base, recipe.lora, meta=True)
        if fused_dropout:
            _fuse_dropout(adapted)
        with self._fake:
            adapted.to_empty(device="cpu")
            for weight in model.trainable(adapted).values():
                weight.grad = torch.zeros_like(weight)  # gradients are counted by themselves
        return adapted


class _Storages(TorchDispatchMode):
    """Bytes of all storages that come into being while it is entered, but for those of `known` tensors."""

    def __init__(self, known: Iterable[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._sizes = {tensor.untyped_storage()._cdata: 0 for tensor in known}
        self._now = 0
        self.peak = 0

    def next_phase(self) -> tuple[int, int]:
        """Bytes now, and the most since the phase began."""
        ended = self._now, self.peak
        self.peak = self._now
        return ended

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata not in self._sizes:
            self._sizes[storage._cdata] = storage.nbytes()
            self._now += storage.nbytes()
            self.peak = max(self.peak, self._now)
            weakref.finalize(storage, self._forget, storage._cdata)

    def _forget(self, key: int) -> None:
        self._now -= self._sizes.pop(key)


class _FusedDropout(nn.Dropout):
    """As on a GPU, where a mask of one byte a value is kept; on a CPU it is the noise itself."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return torch.native_dropout(input, self.p, True)[0] if self.training else input


def _fuse_dropout(adapted: nn.Module) -> None:
    for module in list(adapted.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Dropout):
                setattr(module, name, _FusedDropout(child.p))


@contextmanager
def _rehearsing() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # what fake tensors raise
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(f"the memory of this base model's step cannot be foreseen: {reason}") from error


def _base(adapted: PeftModel) -> PreTrainedModel:
    return cast(PreTrainedModel, adapted.get_base_model())


def _own(adapted: PeftModel) -> list[torch.Tensor]:
    weights = list(adapted.parameters())
    return [*weights, *adapted.buffers(), *(weight.grad for weight in weights if weight.grad is not None)]


def _dtype(recipe: Recipe) -> torch.dtype:
    """`auto` is taken for what it is on the GPUs that are planned for."""
    return torch.float32 if recipe.precision == "fp32" else torch.bfloat16
