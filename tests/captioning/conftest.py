"""Tiny base models, made once for all tests of the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.captioning.helpers import make_adapter
from tests.tiny_models import make_tiny_gemma2, make_tiny_llama


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("llama") / "tiny-llama")


@pytest.fixture(scope="session")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_gemma2(tmp_path_factory.mktemp("gemma") / "tiny-gemma")


@pytest.fixture(scope="session")
def icons(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random adapter of `llama` with the id `icons`. Read only: copy it to change it."""
    return make_adapter(llama, tmp_path_factory.mktemp("adapters") / "icons", "icons", seed=1)
