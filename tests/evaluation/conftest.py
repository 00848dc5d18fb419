"""A small split of drawings that are easy to tell apart, and tiny models that look at them."""

from __future__ import annotations

from pathlib import Path

import pytest

from captioning.corpus import Sample, write_corpus
from tests.evaluation.tiny_pixel_models import (
    make_tiny_blip,
    make_tiny_clip,
    make_tiny_cogvlm,
    make_tiny_vit_gpt2,
)
from tests.tiny_models import make_tiny_llama

_COLOURS = ("red", "green", "blue")


def sample(index: int) -> Sample:
    colour = _COLOURS[index % 3]
    return Sample(
        id=f"s{index}",
        svg=f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">'
        f'<circle cx="50" cy="50" r="{20 + index}" fill="{colour}"/></svg>',
        references=(f"a {colour} circle", f"One {colour} circle on a white ground."),
        caption_author="generator",
    )


@pytest.fixture(scope="session")
def samples() -> list[Sample]:
    return [sample(index) for index in range(12)]


@pytest.fixture
def corpus(tmp_path: Path, samples: list[Sample]) -> Path:
    write_corpus(tmp_path / "corpus.jsonl", samples)
    return tmp_path / "corpus.jsonl"


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_clip(tmp_path_factory.mktemp("models") / "tiny-clip")


@pytest.fixture(scope="session")
def tiny_blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_blip(tmp_path_factory.mktemp("models") / "tiny-blip")


@pytest.fixture(scope="session")
def tiny_vit_gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_vit_gpt2(tmp_path_factory.mktemp("models") / "tiny-vit-gpt2")


@pytest.fixture(scope="session")
def tiny_cogvlm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_cogvlm(tmp_path_factory.mktemp("models") / "tiny-cogvlm")
