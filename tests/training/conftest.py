from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny_models import make_tiny_gemma2, make_tiny_llama


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="session")
def tiny_gemma2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_gemma2(tmp_path_factory.mktemp("models") / "tiny-gemma2")
