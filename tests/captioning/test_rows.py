"""Slots, and rows with a cache each, against transformers' own generation, one prompt at a time."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from captioning.base_models import load_model, resolve
from captioning.lora_bank import LoraBank
from captioning.rows import Prompt
from captioning.slots import FAMILIES, Slots
from captioning.solo import Solo
from captioning.writing import continue_greedily, rows_for

VOCABULARY = 160
NEW_TOKENS = 12
NO_STOP: frozenset[int] = frozenset()

SPECIAL: dict[str, dict[str, Any]] = {
    "gemma2": {"sliding_window": 8, "attn_logit_softcapping": 1.0, "query_pre_attn_scalar": 16},
    "mistral": {"sliding_window": 8},
    "qwen2": {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
}


def tiny(family: str, **changes: Any) -> PreTrainedModel:
    """A model of that family with two layers of random weights, large enough to tell tokens apart."""
    settings: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 256,
        "initializer_range": 0.3,
        "tie_word_embeddings": False,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    torch.manual_seed(3)
    config = AutoConfig.for_model(family, **settings | SPECIAL.get(family, {}) | changes)
    attention = "eager" if family == "gemma2" else "sdpa"
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()  # type: ignore[no-any-return]


def prompts(*lengths: int) -> list[list[int]]:
    rng = random.Random(5)
    return [rng.choices(range(3, VOCABULARY), k=length) for length in lengths]


def plain(model: PreTrainedModel, prompt: list[int], **options: Any) -> list[int]:
    ids = torch.tensor([prompt])
    settings: dict[str, Any] = {"max_new_tokens": NEW_TOKENS, "do_sample": False, "eos_token_id": None}
    output = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **settings | options)  # type: ignore[operator]
    return output[0, len(prompt) :].tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("family", [*sorted(FAMILIES), "lfm2"])
def test_every_family_writes_what_transformers_writes(family: str) -> None:
    model = tiny(family)
    fast = isinstance(rows_for(model, LoraBank(model), max_rows=1, max_tokens=9), Slots)
    assert fast == (family in FAMILIES)
    asked = prompts(3, 20, 9, 41)
    written = continue_greedily(model, asked, max_new_tokens=NEW_TOKENS, stop_ids=NO_STOP)
    assert written == [plain(model, prompt) for prompt in asked]
    assert len(set(map(tuple, written))) == len(asked)


def test_a_stretched_rope_is_left_to_the_model_itself() -> None:
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    model = tiny("llama", rope_parameters=rope)
    assert isinstance(rows_for(model, LoraBank(model), max_rows=1, max_tokens=9), Solo)


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_chunks_and_prefixes_change_nothing(family: str) -> None:
    model = tiny(family)
    prefix, *tails = prompts(20, 5, 30, 44)
    asked = [prefix + tail for tail in tails]

    def logits(**options: Any) -> Tensor:
        rows = Slots(model, LoraBank(model), max_rows=4, max_tokens=4096, **options)
        with torch.inference_mode():
            return rows.add([Prompt(ids, 100) for ids in asked])

    whole = logits()
    for options in ({"chunk_tokens": 7}, {"prefix": prefix}, {"prefix": prefix, "chunk_tokens": 11}):
        torch.testing.assert_close(logits(**options), whole, rtol=1e-4, atol=1e-4)


def test_a_prefix_is_used_where_it_fits() -> None:
    model = tiny("llama")
    prefix, tail = prompts(20, 5)
    rows = Slots(model, LoraBank(model), max_rows=4, max_tokens=4096, prefix=prefix)
    starts = [rows.start(Prompt(ids, 50)) for ids in (prefix + tail, prefix, tail, [*prefix[:-1], 0, *tail])]
    assert starts == [20, 0, 0, 19]


def test_rows_come_go_and_are_copied() -> None:
    """In slots that grow while others write; each row goes on as if it were alone."""
    model = tiny("llama")
    rows = Slots(model, LoraBank(model), max_rows=6, max_tokens=6 * 256)
    asked = prompts(9, 150, 4, 30)
    whole = [plain(model, prompt) for prompt in asked]
    texts: list[list[int]] = []
    with torch.inference_mode():
        for prompt in asked[:3]:
            texts.append([int(rows.add([Prompt(prompt, 200)]).argmax())])
            step(rows, texts)
        rows.copy(1)
        texts.append(list(texts[1]))
        step(rows, texts)
        rows.drop(0)
        first = texts[0]
        texts[0] = texts.pop()
        texts.append([int(rows.add([Prompt(asked[3], 200)]).argmax())])
        for _ in range(4):
            step(rows, texts)
    assert first == whole[0][: len(first)]
    for text, number in zip(texts, (1, 1, 2, 3), strict=True):
        assert text == whole[number][: len(text)]


def step(rows: Slots, texts: list[list[int]]) -> None:
    logits = rows.write([text[-1] for text in texts], 0, len(texts))
    for text, token in zip(texts, logits.argmax(-1).tolist(), strict=True):
        text.append(token)


def test_memory_is_counted_before_it_is_taken() -> None:
    model = tiny("llama")
    rows = Slots(model, LoraBank(model), max_rows=8, max_tokens=1024)
    assert rows.holds(8, 128)
    assert not rows.holds(8, 129)
    assert rows.holds(1, 1024)
    assert not rows.holds(1, 1025)
    assert not rows.holds(9, 1)
    with torch.inference_mode():
        rows.add([Prompt([5] * 10, 200)])
    assert rows.fits(3, 10)
    assert not rows.fits(4, 10)


def test_what_is_not_finite_stays_in_its_row() -> None:
    model = tiny("llama")
    asked = prompts(40, 12)
    rows = Slots(model, LoraBank(model), max_rows=1, max_tokens=256)
    layer: Any = model.model.layers[0]
    with torch.inference_mode():
        hook = layer.register_forward_pre_hook(lambda _, args: (args[0] * float("nan"), *args[1:]))
        assert rows.add([Prompt(asked[0], 60)]).isnan().all()
        hook.remove()
        rows.drop(0, spoilt=True)
        texts = [[int(rows.add([Prompt(asked[1], 60)]).argmax())]]
        for _ in range(5):
            step(rows, texts)
    assert texts[0] == plain(model, asked[1])[:6]


@pytest.mark.parametrize("family", ["llama", "gemma"])
def test_bfloat16_rounds_alone_as_in_company(family: str, request: pytest.FixtureRequest) -> None:
    """Logits in company differ from those alone by at most 0.05 of their spread (bfloat16 has 8 bits)."""
    model = load_model(resolve(str(request.getfixturevalue(family))), dtype=torch.bfloat16)
    asked = prompts(30, 28, 33, 7)

    def logits(number: int, company: list[int]) -> Tensor:
        rows = Slots(model, LoraBank(model), max_rows=4, max_tokens=1024)
        with torch.inference_mode():
            rows.add([Prompt(asked[one], 60) for one in company])
            return rows.write([9] * len(company), 0, len(company))[company.index(number)].float()

    for number in range(4):
        alone, together = logits(number, [number]), logits(number, [0, 1, 2, 3])
        assert (alone - together).abs().max() <= 0.05 * alone.std()


def test_greedy_texts_end_where_they_should(llama: Path) -> None:
    model = load_model(resolve(str(llama)), dtype=torch.float32)
    asked = [[5, 9, 14] * length for length in (1, 30, 4, 17)]
    whole = continue_greedily(model, asked, max_new_tokens=24, stop_ids=NO_STOP)
    stop = whole[1][3]
    for text, tokens in zip(
        continue_greedily(model, asked, max_new_tokens=9, stop_ids=frozenset({stop})), whole, strict=True
    ):
        end = tokens.index(stop) + 1 if stop in tokens else len(tokens)
        assert text == tokens[: min(end, 9)]
