from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.services.helpers import FakeEngine, service
from tests.tiny_models import make_tiny_llama


@pytest.fixture(scope="session")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder named `tiny`, so that is the base model's id."""
    return make_tiny_llama(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def client(base_model: Path, engine: FakeEngine, tmp_path: Path) -> Iterator[TestClient]:
    """Adapters go to `tmp_path / "adapters"`."""
    with service(base_model, engine, adapters_dir=tmp_path / "adapters") as client:
        yield client
