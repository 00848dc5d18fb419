"""The engine against transformers' and peft's own generation, one request at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, PreTrainedModel

from captioning.adapters import Manifest, write_adapter
from captioning.base_models import BaseModelSpec, load_model, load_tokenizer, resolve
from captioning.engine import Caption, Engine, Generation, GenerationRequest
from captioning.errors import AdapterError, ConfigError, ModelNotFound, PromptTooLong
from captioning.prompt import clean_caption, prompt_ids
from rendering import SvgRejected
from tests.captioning.helpers import make_adapter, make_manifest
from tests.tiny_models import make_tiny_gemma2, make_tiny_llama

DRAWINGS = (
    '<svg viewBox="0 0 10 10"><circle r="3"/></svg>',
    '<svg viewBox="0 0 10 10"><rect width="5" height="5" fill="#f00"/><path d="M0 0L9 9"/></svg>',
    "<svg/>",
)


@pytest.fixture(scope="module", params=[make_tiny_llama, make_tiny_gemma2], ids=["llama", "gemma2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    make: Callable[[Path], Path] = request.param
    return make(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def adapters(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two random adapters: one on attention, one of another rank on other modules."""
    parent = tmp_path_factory.mktemp("adapters")
    return {
        "icons-v1.2": make_adapter(folder, parent / "a", "icons-v1.2", r=4, seed=1),
        "logos": make_adapter(folder, parent / "b", "logos", r=2, seed=2, modules=["v_proj", "up_proj"]),
    }


@pytest.fixture
def engine(folder: Path, adapters: dict[str, Path]) -> Engine:
    engine = Engine.load(str(folder), dtype="float32", device="cpu", max_batch_size=4)
    for path in adapters.values():
        engine.load_adapter(path)
    return engine


@pytest.fixture(scope="module")
def prompts(folder: Path) -> list[list[int]]:
    tokenizer = load_tokenizer(resolve(str(folder)))
    return [prompt_ids(tokenizer, svg) for svg in DRAWINGS]


def reference(folder: Path, adapter: Path | None, prompt: list[int], max_new_tokens: int) -> Generation:
    """What transformers and peft generate for one request."""
    spec = resolve(str(folder))
    model: PreTrainedModel | PeftModel = load_model(spec, dtype=torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter)).eval()
    ids = torch.tensor([prompt])
    tokenizer = load_tokenizer(spec)
    end = {tokenizer.convert_tokens_to_ids(token) for token in ("<|eot_id|>", "<end_of_turn>", "<eos>")}
    output = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=max_new_tokens,
        do_sample=False,
        eos_token_id=[token for token in end if token is not None],
    )
    written = output[0, len(prompt) :].tolist()
    text = tokenizer.decode(written, skip_special_tokens=True)
    return Generation(
        clean_caption(text), "stop" if written[-1] in end else "length", len(prompt), len(written)
    )


def test_greedy_answers_are_those_of_transformers_and_peft(
    folder: Path, adapters: dict[str, Path], engine: Engine, prompts: list[list[int]]
) -> None:
    choices = [None, *adapters]
    requests = [
        GenerationRequest(prompt, choices[(index + shift) % 3], max_new_tokens=6 + 5 * index)
        for shift in range(3)
        for index, prompt in enumerate(prompts)
    ]
    expected = [
        reference(folder, adapters.get(request.adapter or ""), request.prompt_ids, request.max_new_tokens)
        for request in requests
    ]
    assert engine.generate(requests) == expected
    assert [engine.generate([request])[0] for request in requests] == expected
    assert len({answer.text for answer in expected}) > 3
