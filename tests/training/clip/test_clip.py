from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from captioning.corpus import Sample
from captioning.errors import ConfigError
from evaluation.pictures import picture_of
from rendering import Rasterizer
from training.base.corpus import Pair
from training.clip import held_out, pretrain
from training.clip.batches import Choice, Sampler, contrastive_loss, relations, shaken
from training.clip.corpus import Pictures, draw, picture
from training.clip.held_out import matching
from training.clip.model import as_input, text_features
from training.clip.pretrain import ClipRecipe, learning_rate, run
from training.corpora.scenes import generate_scene, is_held_out

TINY = ClipRecipe(
    scene_seeds=60, families=(), scenes=40, embed_dim=16, vocab_size=400, text_width=32, text_layers=1,
    text_heads=2, steps=4, batch_size=8, scene_share=1.0, warmup_steps=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures and tokenizer of the tiny recipe, and its finished model in `whole`."""
    work: Path = tmp_path_factory.mktemp("clip")
    run(TINY, work, work / "whole", Path("unused"), processes=1)
    return work


@pytest.fixture(scope="module")
def pictures(work: Path) -> Pictures:
    return pretrain._pictures(TINY, work, Path("unused"), processes=1)


@pytest.fixture(scope="module")
def rasterizer() -> Iterator[Rasterizer]:
    with Rasterizer() as rasterizer:
        yield rasterizer


def icon(name: str, source: str, *references: str) -> Pair:
    return Pair(f"{source} {references}", references, source, name)


def test_pictures_are_nearly_those_that_evaluation_looks_at(work: Path, rasterizer: Rasterizer) -> None:
    _, transform = open_clip.create_model_from_pretrained(f"local-dir:{work / 'whole'}")
    for seed in range(3):
        scene = generate_scene(seed)
        seen = transform(picture_of(Sample(id="s", svg=scene.svg, references=("x",)), rasterizer))
        learned = as_input(torch.from_numpy(picture(scene.svg, rasterizer, TINY.size_px))[None])[0]
        assert seen.shape == learned.shape
        assert (seen - learned).abs().mean() < 0.02  # of a range of 3: the edges are drawn a little otherwise


def test_so_many_drawings_are_chosen_and_no_held_out_combination(pictures: Pictures) -> None:
    assert len(pictures.pairs) == len(pictures.pixels) == 40
    held_out = [scene for scene in map(generate_scene, range(60)) if is_held_out(scene.truth)]
    assert held_out
    learned = {pair.references for pair in pictures.pairs}
    assert all(scene.references not in learned for scene in held_out)


def test_pictures_belong_to_their_drawings(pictures: Pictures, rasterizer: Rasterizer) -> None:
    for index in (0, 7, 39):
        again = picture(pictures.pairs[index].canonical, rasterizer, TINY.size_px)
        assert np.array_equal(again, pictures.pixels[index])


def test_a_drawing_that_cannot_be_drawn_is_left_out_and_none_is_drawn_twice(tmp_path: Path) -> None:
    square = '<svg viewBox="0 0 8 8"><rect width="8" height="8" fill="red"/></svg>'
    pairs = [Pair(square, ("a",), "mdi", "a"), Pair("<svg", ("b",), "mdi", "b")]
    pictures = draw(pairs, tmp_path, size_px=64, processes=1)
    assert pictures.pairs == pairs[:1]
    [file] = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    assert np.array_equal(draw(pairs, tmp_path, size_px=64, processes=1).pixels, pictures.pixels)
    assert file.stat().st_mtime_ns == written


def test_a_shared_reference_is_right_for_every_picture_that_has_it() -> None:
    heart, slashed, bell = "An icon of a heart.", "A heart with a slash.", "An icon of a bell."
    pairs = [
        icon("heart", "lucide", heart, "A heart."),
        icon("heart", "mdi", heart),
        icon("heart", "lucide", slashed),
        icon("bell", "mdi", bell),
    ]
    right, unknown = relations(pairs, [heart, heart, slashed, bell])
    assert right.tolist() == [
        [True, True, False, False],
        [True, True, False, False],
        [False, False, True, False],
        [False, False, False, True],
    ]
    # whether the heart of mdi has a slash, lucide's names do not tell
    assert unknown.nonzero().tolist() == [[1, 2], [2, 1]]


def test_scenes_of_one_truth_share_their_captions() -> None:
    plain, other = "A red circle.", "One red circle."
    pairs = [Pair("a", (plain, other), "scene"), Pair("b", (plain,), "scene")]
    right, unknown = relations(pairs, [other, plain])
    assert right.all()
    assert not unknown.any()


def test_the_loss_does_not_punish_what_is_right_or_unknown() -> None:
    right = torch.eye(3, dtype=torch.bool)
    right[0, 1] = right[1, 0] = True
    unknown = torch.zeros(3, 3, dtype=torch.bool)
    logits = torch.eye(3) * 20
    assert contrastive_loss(logits, torch.eye(3, dtype=torch.bool), unknown) < 1e-6
    alike = torch.tensor([[20.0, 20.0, 0.0], [20.0, 20.0, 0.0], [0.0, 0.0, 20.0]])
    assert contrastive_loss(alike, right, unknown) < contrastive_loss(logits, right, unknown)
    unknown[0, 2] = unknown[2, 0] = True
    fooled = alike.clone()
    fooled[0, 2] = fooled[2, 0] = 40
    assert contrastive_loss(fooled, right, unknown) == pytest.approx(
        float(contrastive_loss(alike, right, unknown)), abs=1e-5
    )


def test_a_step_draws_the_same_batch_whatever_came_before(pictures: Pictures) -> None:
    def sampler() -> Sampler:
        return Sampler(pictures.pairs, batch_size=16, scene_share=1.0, seed=3)

    used, fresh = sampler(), sampler()
    assert used.draw(0) != used.draw(1)
    assert used.draw(2) == fresh.draw(2)
    choice = fresh.draw(2)
    assert len(set(choice.indices)) == 16
    for index, reference in zip(choice.indices, choice.references, strict=True):
        assert reference in pictures.pairs[index].references
    assert any(caption == f"A photo depicts {reference}" for reference, caption in _captions(choice))
    assert any(caption == reference for reference, caption in _captions(choice))


def _captions(choice: Choice) -> Iterator[tuple[str, str]]:
    return zip(choice.references, choice.captions, strict=True)


def test_a_shaken_picture_is_moved_a_little_and_never_mirrored() -> None:
    pixels = torch.zeros(16, 3, 64, 64)
    pixels[:, :, 24:40, 8:16] = 1.0  # on the left
    moved = shaken(pixels, seed=1)
    columns = (moved.sum(dim=(1, 2)) * torch.arange(64)).sum(dim=1) / moved.sum(dim=(1, 2, 3))
    assert (columns < 28).all()
    assert not torch.allclose(moved, pixels)
    assert torch.equal(moved, shaken(pixels, seed=1))


def test_shorter_rows_of_tokens_give_the_features_of_open_clip(work: Path) -> None:
    folder = f"local-dir:{work / 'whole'}"
    model = open_clip.create_model_from_pretrained(folder, return_transform=False).eval()
    tokens = open_clip.get_tokenizer(folder)(["A red circle.", "Two blue squares on a white background."])
    with torch.no_grad():
        assert torch.allclose(
            text_features(model, tokens[:, :30]), model.encode_text(tokens, normalize=True), atol=1e-5
        )


def test_an_interrupted_run_ends_with_the_weights_of_an_undisturbed_one(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cut(Exception):
        pass

    update = pretrain.Trainer._update

    def cut(self: pretrain.Trainer, examples: pretrain.Examples, sampler: Sampler) -> float:
        if self.step == 2:
            self.save()
            raise Cut
        return update(self, examples, sampler)

    for name in ("pictures", "pairs.jsonl"):
        (tmp_path / name).symlink_to(work / name)
    with monkeypatch.context() as patch:
        patch.setattr(pretrain.Trainer, "_update", cut)
        with pytest.raises(Cut):
            run(TINY, tmp_path, tmp_path / "resumed", Path("unused"), processes=1)
    assert not (tmp_path / "resumed").exists()
    run(TINY, tmp_path, tmp_path / "resumed", Path("unused"), processes=1)
    for name in ("open_clip_model.safetensors", "open_clip_config.json", "tokenizer.json", "recipe.json"):
        assert (tmp_path / "resumed" / name).read_bytes() == (work / "whole" / name).read_bytes(), name
    assert json.loads((tmp_path / "resumed" / "recipe.json").read_text())["steps"] == 4


def test_other_settings_do_not_go_on_from_a_checkpoint(work: Path) -> None:
    with pytest.raises(ConfigError, match=r"other settings \(steps: 4 there, 5 asked for\)"):
        run(replace(TINY, steps=5), work, work / "never", Path("unused"), processes=1)


def test_the_learning_rate_warms_up_and_falls_to_zero() -> None:
    recipe = ClipRecipe(steps=100, warmup_steps=10, decay_share=0.2, learning_rate=1.0)
    rates = [learning_rate(recipe, step) for step in range(100)]
    assert rates[9] == rates[80] == max(rates) == 1.0
    assert [rates[0], rates[90], rates[99]] == pytest.approx([0.1, 0.5, 0.05])


def test_a_model_is_measured_on_icons_and_scenes(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def icons(family: str, _cache_dir: Path) -> Iterator[Sample]:
        for index, name in enumerate(("bell", "heart", "star")):
            circle = f'<circle cx="9" cy="9" r="{index + 2}"/>'
            svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 18 18">{circle}</svg>'
            yield Sample(id=f"{family}/{name}", svg=svg, references=(f"An icon of a {name}.",), tags=(name,))

    monkeypatch.setattr(held_out, "read_icons", icons)
    found = held_out.evaluate(work / "whole", Path("unused"), tmp_path, drawings=4, seed=0)
    assert {name: one.drawings for name, one in found.items() if name in ("together", "icons", "scenes")} == {
        "together": 7,
        "icons": 3,
        "scenes": 4,
    }
    assert all(0 <= share <= 1 for one in found.values() for share in list(asdict(one).values())[1:])


def test_matching_counts_what_is_found() -> None:
    names = ("a", "b", "c")
    pairs = [icon(name, "tabler", f"{name}.") for name in names]
    captions = [f"{name}." for name in names]
    perfect = matching(np.eye(3), pairs, captions, random.Random(0))
    assert asdict(perfect) == {name: 3 if name == "drawings" else 1.0 for name in asdict(perfect)}
    blind = matching(np.zeros((3, 3)), pairs, captions, random.Random(0))
    assert (blind.true_over_false, blind.text_to_image_at_1, blind.text_to_image_at_10) == (0.0, 0.0, 1.0)
