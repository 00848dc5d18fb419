"""A real engine on a tiny model, with adapters that come, change and go while it runs."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from captioning.base_models import resolve, weight_fingerprint
from captioning.engine import Engine, Generation, GenerationRequest
from captioning.errors import AdapterError, ModelNotFound
from rendering.errors import SvgCaptionError
from services.catalog import Catalog
from services.engine_host import EngineHost, Outcome
from tests.captioning.helpers import make_adapter, make_manifest

PROMPT = list(range(20, 60))


@pytest.fixture
def host(base_model: Path, tmp_path: Path) -> EngineHost:
    spec = resolve(str(base_model))
    engine = Engine.load(str(base_model), dtype="float32", device="cpu")
    return EngineHost(engine, Catalog(spec, weight_fingerprint(spec), tmp_path), max_batch_size=8)


def generate(host: EngineHost, *adapters: str | None) -> list[Outcome]:
    return asyncio.run(host.generate([_request(adapter) for adapter in adapters]))


def text(outcome: Outcome) -> str:
    assert isinstance(outcome, Generation), outcome
    return outcome.text


def _request(adapter: str | None) -> GenerationRequest:
    return GenerationRequest(PROMPT, adapter, max_new_tokens=12)


def test_an_adapter_is_loaded_when_it_is_asked_for(
    host: EngineHost, base_model: Path, tmp_path: Path
) -> None:
    make_adapter(base_model, tmp_path / "icons", "icons", seed=1)
    base, adapted = generate(host, None, "icons")
    assert text(base) != text(adapted)


def test_a_changed_folder_is_loaded_again(host: EngineHost, base_model: Path, tmp_path: Path) -> None:
    make_adapter(base_model, tmp_path / "icons", "icons", seed=1)
    before = text(generate(host, "icons")[0])
    assert text(generate(host, "icons")[0]) == before
    make_adapter(base_model, tmp_path / "icons", "icons", seed=2)
    assert text(generate(host, "icons")[0]) != before


def test_a_deleted_adapter_is_gone(host: EngineHost, base_model: Path, tmp_path: Path) -> None:
    make_adapter(base_model, tmp_path / "icons", "icons")
    generate(host, "icons")
    shutil.rmtree(tmp_path / "icons")
    base, gone = generate(host, None, "icons")
    assert text(base)
    assert isinstance(gone, ModelNotFound)


def test_an_adapter_that_does_not_fit_fails_alone(host: EngineHost, base_model: Path, tmp_path: Path) -> None:
    folder = make_adapter(base_model, tmp_path / "foreign", "foreign")
    manifest = make_manifest(str(base_model), "foreign", base_fingerprint="sha256:other")
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    make_adapter(base_model, tmp_path / "icons", "icons")
    outcomes = generate(host, "icons", "foreign", None)
    assert [type(outcome) for outcome in outcomes] == [Generation, AdapterError, Generation]


def test_a_poison_request_fails_alone(
    host: EngineHost, base_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Engine.generate

    def fails_on_long_prompts(self: Engine, requests: Sequence[GenerationRequest]) -> list[Generation]:
        if any(len(request.prompt_ids) > 50 for request in requests):
            raise RuntimeError("CUDA error")
        return real(self, requests)

    monkeypatch.setattr(Engine, "generate", fails_on_long_prompts)
    poison = GenerationRequest(PROMPT * 2, max_new_tokens=12)
    good, bad, fine = asyncio.run(host.generate([_request(None), poison, _request(None)]))
    assert text(good) == text(fine)
    assert isinstance(bad, SvgCaptionError)
    assert str(bad) == "generation failed: RuntimeError"
