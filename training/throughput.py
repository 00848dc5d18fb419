"""How fast a step was: tokens per second, memory, and the share of the GPU's arithmetic that was used."""

from __future__ import annotations

import re
import time
from dataclasses import asdict, dataclass
from typing import Self

import torch
from transformers import PreTrainedModel

_GIB = 1024**3

# Dense bfloat16 operations per second by the makers' data sheets; the first name that fits counts.
_PEAK_FLOPS = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "RTX 6000 Ada": 364e12,
    "L40S": 362e12,
    "RTX A6000": 155e12,
    "A40": 150e12,
    "L4": 121e12,
    "RTX 4090": 165e12,
}


@dataclass(frozen=True)
class Throughput:
    """Of one step, all workers together; memory is this worker's."""

    seconds: float
    tokens_per_s: float  # of samples, padding left out
    padding_share: float  # of the tokens that were computed
    gpu_memory_gib: float | None = None  # the most so far
    mfu: float | None = None  # model FLOPs utilization in [0, 1]; None where the peak is not known

    def rounded(self) -> dict[str, float]:
        return {name: round(value, 4) for name, value in asdict(self).items() if value is not None}


class Meter:
    """Measures the steps of a run, between `start` and `stop`."""

    def __init__(self, model: PreTrainedModel, device: torch.device, workers: int) -> None:
        self._flops = ModelFlops.of(model)
        self._device = device
        self._workers = workers
        self._peak = _peak_flops(device)
        self._started = 0.0

    def start(self) -> None:
        self._started = time.monotonic()

    def stop(self, tokens: int, padded_tokens: int, label_tokens: int, samples: int) -> Throughput:
        """The caller has waited for the GPU, by reading the step's loss."""
        seconds = time.monotonic() - self._started
        throughput = (seconds, tokens / seconds, 1 - tokens / padded_tokens)
        if self._device.type != "cuda":
            return Throughput(*throughput)
        flops = self._flops.of_step(tokens, label_tokens, tokens / samples)
        peak = self._peak * self._workers if self._peak else None
        memory = torch.cuda.max_memory_allocated(self._device) / _GIB
        return Throughput(*throughput, memory, flops / seconds / peak if peak else None)


@dataclass(frozen=True)
class ModelFlops:
    """Operations that training an adapter takes, however it is done (Chowdhery et al., 2022, appendix B).

    Weights are frozen: a multiplication counts once forward and once backward, for the activations'
    gradient alone; attention counts twice backward. What is computed again for activation
    checkpointing, LoRA's own share and padding do not count.
    """

    layer_weights: int  # of all linear layers but the head
    head_weights: int
    attention: int  # layers x attention width

    @classmethod
    def of(cls, model: PreTrainedModel) -> Self:
        config = model.config.get_text_config()
        embeddings = {model.get_input_embeddings(), model.get_output_embeddings()}
        inside = {weight for module in embeddings for weight in module.parameters()}
        own = (weight for name, weight in model.named_parameters() if "lora_" not in name)
        layers = sum(_elements(weight) for weight in own if weight not in inside)
        head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return cls(
            layers,
            config.hidden_size * config.vocab_size,
            config.num_hidden_layers * config.num_attention_heads * head,
        )

    def of_step(self, tokens: int, label_tokens: int, mean_length: float) -> float:
        linear = 4 * (tokens * self.layer_weights + label_tokens * self.head_weights)
        return linear + 3 * 2 * tokens * self.attention * mean_length  # half of the scores: causal


def _elements(weight: torch.nn.Parameter) -> int:
    """bitsandbytes packs two 4-bit weights into a byte."""
    state = getattr(weight, "quant_state", None)
    return int(state.shape.numel()) if state is not None else weight.numel()


def _peak_flops(device: torch.device) -> float | None:
    if device.type != "cuda":
        return None
    return peak_flops(torch.cuda.get_device_name(device))


def peak_flops(name: str) -> float | None:
    """Of the GPU of that name; None where it is not known."""
    return next((peak for part, peak in _PEAK_FLOPS.items() if re.search(rf"\b{part}\b", name)), None)
