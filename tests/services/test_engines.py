"""The service over a model that a server runs, which it reaches over real HTTP."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from captioning.base_models import resolve
from captioning.engine import Engine, GenerationRequest
from captioning.errors import EngineUnavailable
from services.catalog import Catalog
from services.engine_host import EngineHost, Outcome
from services.engines import make_engine
from services.errors import from_domain
from services.settings import Settings
from tests.captioning.completions_server import CompletionsServer, serving
from tests.captioning.helpers import make_adapter

PROMPT = list(range(20, 60))


def test_base_and_adapters_are_the_servers(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("captioning.completions._FIRST_WAIT_S", 0)
    runs = Engine.load(str(base_model), dtype="float32", device="cpu")
    with serving(CompletionsServer(runs)) as server:
        settings = Settings(
            base_model=str(base_model),
            adapters_dir=tmp_path,
            engine_url=f"{server.url}/v1",
            engine_loads_adapters=True,
        )
        engine = make_engine(settings)
        host = EngineHost(engine, Catalog(resolve(str(base_model)), None, tmp_path))

        def generate(*adapters: str | None) -> list[Outcome]:
            requests = [GenerationRequest(PROMPT, adapter, max_new_tokens=12) for adapter in adapters]
            return asyncio.run(host.generate(requests))

        make_adapter(base_model, tmp_path / "icons", "icons", seed=1)
        base, adapted = generate(None, "icons")
        make_adapter(base_model, tmp_path / "icons", "icons", seed=2)
        [retrained] = generate("icons")
        assert base == runs.generate([GenerationRequest(PROMPT, max_new_tokens=12)])
        assert retrained == runs.generate([GenerationRequest(PROMPT, "icons", max_new_tokens=12)])
        assert retrained != adapted
    [gone] = generate(None)
    assert isinstance(gone, EngineUnavailable)
    refusal = from_domain(gone)
    assert (refusal.status_code, refusal.headers) == (503, {"Retry-After": "1"})
    assert server.url not in json.dumps(refusal.body("1"))
    engine.close()
    runs.close()
