"""BLIP, ViT-GPT2 and CogVLM through their real processors, on tiny models in their formats."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from PIL import Image

from captioning.corpus import Sample
from evaluation.captioners.cogvlm import load_cogvlm
from evaluation.captioners.pixels import Describe, PixelCaptioner, load_blip, load_vit_gpt2
from evaluation.errors import Unavailable
from rendering import Rasterizer
from tests.evaluation.conftest import sample


@pytest.fixture(scope="module")
def rasterizer() -> Iterator[Rasterizer]:
    with Rasterizer() as rasterizer:
        yield rasterizer


@pytest.fixture(params=["blip", "vit-gpt2", "cogvlm"])
def describe(
    request: pytest.FixtureRequest, tiny_blip: Path, tiny_vit_gpt2: Path, tiny_cogvlm: Path
) -> Describe:
    match request.param:
        case "blip":
            return load_blip(str(tiny_blip))
        case "vit-gpt2":
            return load_vit_gpt2(str(tiny_vit_gpt2))
        case _:
            return _load_cogvlm(tiny_cogvlm)


def _load_cogvlm(folder: Path) -> Describe:
    return load_cogvlm(str(folder), revision=None, tokenizer=str(folder), max_new_tokens=8)


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


def test_cogvlm_sees_the_picture(tiny_cogvlm: Path) -> None:
    pictures = [Image.new("RGB", (64, 64), colour) for colour in ("red", "green", "blue", "white")]
    captions = _load_cogvlm(tiny_cogvlm)(pictures)
    assert all(captions)
    assert len(set(captions)) > 1


def test_code_that_lies_in_another_repository_is_not_run(tiny_cogvlm: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_cogvlm, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"]["AutoModelForCausalLM"] = "somebody/else--modeling_cogvlm.CogVLMForCausalLM"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(Unavailable, match="takes its code from elsewhere, where no revision is pinned"):
        _load_cogvlm(folder)
    (folder / "config.json").unlink()
    with pytest.raises(Unavailable, match="has no code of its own"):
        _load_cogvlm(folder)


def test_code_that_fails_is_a_reason_and_costs_a_sample_at_a_time(
    tiny_cogvlm: Path, rasterizer: Rasterizer, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_cogvlm, tmp_path / "broken")
    code = (folder / "modeling_cogvlm.py").read_text()
    (folder / "modeling_cogvlm.py").write_text(f"import a_package_that_nobody_has\n{code}")
    with pytest.raises(Unavailable, match="a_package_that_nobody_has"):
        _load_cogvlm(folder)

    folder = shutil.copytree(tiny_cogvlm, tmp_path / "fails")
    code = code.replace(
        "        patches = self.vision", "        input_ids.no_such_name\n        patches = self.vision"
    )
    (folder / "modeling_cogvlm.py").write_text(code)
    [failed] = PixelCaptioner(_load_cogvlm(folder), rasterizer).caption([sample(0)])
    assert failed.error is not None
    assert failed.error.startswith("RuntimeError: AttributeError: ")
