from __future__ import annotations

import pytest
from transformers import AutoConfig

from captioning.base_models import resolve
from training import model
from training.plan import model_config
from training.throughput import ModelFlops, peak_flops


def test_operations_of_an_8b_model_are_four_a_weight_and_token() -> None:
    flops = ModelFlops.of(model.on_meta(model_config(resolve("llama-3.1-8b"))))
    norms = 65 * 4096
    assert flops.layer_weights == 6_979_321_856 + norms
    assert flops.head_weights == 4096 * 128_256
    assert flops.attention == 32 * 32 * 128
    linear = 4 * (2048 * flops.layer_weights + 20 * flops.head_weights)
    attention = 2048 * 2048 * 32 * 4096 * 6
    assert flops.of_step(2048, 20, 2048) == linear + attention


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40", None),
        ("NVIDIA RTX A4000", None),
        ("NVIDIA A100-SXM4-80GB", 312e12),
    ],
)
def test_a_gpu_is_not_taken_for_another_of_a_longer_name(name: str, peak: float | None) -> None:
    assert peak_flops(name) == peak


def test_a_tied_head_counts_once() -> None:
    settings = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 100}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    config = AutoConfig.for_model("llama", **settings, **heads, tie_word_embeddings=True)
    flops = ModelFlops.of(model.on_meta(config))
    assert flops.head_weights == 3200
    assert flops.layer_weights == 2 * (32 * 32 * 2 + 32 * 16 * 2 + 3 * 32 * 64 + 2 * 32) + 32
