"""BLIP and ViT-GPT2 through their real processors, on tiny models in their formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from PIL import Image

from captioning.corpus import Sample
from evaluation.captioners.pixels import Describe, PixelCaptioner, load_blip, load_vit_gpt2
from evaluation.errors import Unavailable
from rendering import Rasterizer
from tests.evaluation.conftest import sample


@pytest.fixture(scope="module")
def rasterizer() -> Iterator[Rasterizer]:
    with Rasterizer() as rasterizer:
        yield rasterizer


@pytest.fixture(params=["blip", "vit-gpt2"])
def describe(request: pytest.FixtureRequest, tiny_blip: Path, tiny_vit_gpt2: Path) -> Describe:
    return load_blip(str(tiny_blip)) if request.param == "blip" else load_vit_gpt2(str(tiny_vit_gpt2))


def test_every_sample_gets_a_caption_and_batches_change_none(
    describe: Describe, samples: list[Sample], rasterizer: Rasterizer
) -> None:
    in_batches = list(PixelCaptioner(describe, rasterizer, batch_size=5).caption(samples))
    alone = list(PixelCaptioner(describe, rasterizer, batch_size=1).caption(samples))
    assert [candidate.id for candidate in in_batches] == [sample.id for sample in samples]
    assert in_batches == alone
    assert any(candidate.caption for candidate in in_batches)


def test_a_drawing_that_cannot_be_drawn_costs_only_itself(rasterizer: Rasterizer) -> None:
    broken = sample(1).model_copy(update={"svg": "<svg><circle"})
    captioner = PixelCaptioner(lambda pictures: ["seen"] * len(pictures), rasterizer)
    first, refused, last = captioner.caption([sample(0), broken, sample(2)])
    assert first.caption == last.caption == "seen"
    assert refused.caption is None
    assert refused.error is not None
    assert refused.error.startswith("malformed: ")


def test_a_model_that_fails_on_a_batch_is_asked_for_each_picture(rasterizer: Rasterizer) -> None:
    captioner = PixelCaptioner(_fails_on_green, rasterizer)
    captions = list(captioner.caption([sample(0), sample(1), sample(2)]))
    assert [candidate.caption for candidate in captions] == ["seen", None, "seen"]
    assert captions[1].error == "RuntimeError: out of memory"


def _fails_on_green(pictures: Sequence[Image.Image]) -> list[str]:
    if any(picture.getpixel((256, 256)) == (0, 128, 0) for picture in pictures):
        raise RuntimeError("out of memory")
    return ["seen"] * len(pictures)


@pytest.mark.parametrize("load", [load_blip, load_vit_gpt2])
def test_weights_that_are_not_there_are_a_reason(load: Callable[[str], Describe], tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="'nobody/nothing' is neither a folder nor in the hub's cache"):
        load("nobody/nothing")
    with pytest.raises(Unavailable, match="holds no"):
        load(str(tmp_path))
