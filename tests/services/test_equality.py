"""Over HTTP and in company, each adapter writes what it writes alone, as transformers and peft do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from captioning.engine import Engine, GenerationRequest
from captioning.pipeline import prepare
from tests.captioning.helpers import make_adapter, plain_texts
from tests.live_service import LiveService

pytestmark = pytest.mark.ray

CLIENTS = 32
MAX_TOKENS = 16
ADAPTERS = {
    "equal-a": ("q_proj", "v_proj"),
    "equal-b": ("v_proj", "up_proj"),
    "equal-c": ("q_proj", "k_proj", "o_proj", "down_proj"),
    "equal-d": ("gate_proj",),
}


@pytest.fixture(scope="module")
def folders(live_service: LiveService) -> Iterator[dict[str, Path]]:
    folders = {
        name: make_adapter(
            live_service.base_model,
            live_service.adapters_dir / name,
            name,
            r=2 + seed,
            seed=seed,
            modules=modules,
        )
        for seed, (name, modules) in enumerate(ADAPTERS.items())
    }
    yield folders
    for folder in folders.values():
        shutil.rmtree(folder)


def drawing(number: int) -> str:
    x, y, r = number % 9, number // 9 % 9, 1 + number % 5
    circle = f'<circle cx="{9 * x}" cy="{9 * y}" r="{r}"/>'
    return f'<svg viewBox="0 0 99 99">{circle}<path d="M{number} 0V{r}Z"/></svg>'


@pytest.mark.parametrize("drawings", [4, pytest.param(200, marks=pytest.mark.slow)])
def test_http_in_company_equals_the_engine_alone_and_peft(
    live_service: LiveService, folders: dict[str, Path], drawings: int
) -> None:
    svgs = [drawing(number) for number in range(drawings)]
    asked = [(svg, adapter) for svg in svgs for adapter in (None, *folders)]
    engine = Engine.load(str(live_service.base_model), dtype="float32", device="cpu")
    for folder in folders.values():
        engine.load_adapter(folder)
    requests = [
        GenerationRequest(prepare(svg, engine.tokenizer).prompt_ids, adapter, MAX_TOKENS)
        for svg, adapter in asked
    ]
    alone = [engine.generate([request])[0].text for request in requests]
    engine.close()
    assert _over_http(live_service.url, asked) == alone
    assert plain_texts(live_service.base_model, folders, requests) == alone
    assert len(set(alone)) > len(alone) // 2


def _over_http(url: str, asked: list[tuple[str, str | None]]) -> list[str]:
    limits = httpx.Limits(max_connections=CLIENTS)
    with (
        httpx.Client(base_url=url, timeout=120, trust_env=False, limits=limits) as client,
        ThreadPoolExecutor(CLIENTS) as pool,
    ):

        def caption(job: tuple[str, str | None]) -> str:
            svg, model = job
            answer = client.post("/v1/captions", json={"svg": svg, "model": model, "max_tokens": MAX_TOKENS})
            assert answer.is_success, answer.text
            return str(answer.json()["captions"][0]["text"])

        return list(pool.map(caption, asked))
