"""CLIP Score on a random model in open_clip's folder format."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from captioning.corpus import Sample
from evaluation.errors import Unavailable
from evaluation.metrics.clip import ClipModel, ClipScorer
from evaluation.pictures import picture_of
from rendering import Rasterizer, load
from tests.evaluation.conftest import sample

LONG = "a circle and " * 60


@pytest.fixture(scope="module")
def rasterizer() -> Iterator[Rasterizer]:
    with Rasterizer() as rasterizer:
        yield rasterizer


@pytest.fixture(scope="module")
def clip(tiny_clip: Path) -> ClipModel:
    return ClipModel.load(str(tiny_clip))


def test_both_scales_follow_the_published_formula(
    clip: ClipModel, tiny_clip: Path, samples: list[Sample], rasterizer: Rasterizer
) -> None:
    candidates = [f"{index} small shapes" for index in range(len(samples))]
    scaled, percent, _, with_references, margin, retrieval = ClipScorer(clip, samples, rasterizer).measure(
        candidates
    )

    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{tiny_clip}")
    tokenize = open_clip.get_tokenizer(f"local-dir:{tiny_clip}")
    pictures, texts = [], []
    for index, (drawing, candidate) in enumerate(zip(samples, candidates, strict=True)):
        png = rasterizer.render(load(drawing.svg.encode()), size_px=512, background="auto")
        with torch.no_grad():
            picture = model.encode_image(transform(Image.open(io.BytesIO(png)).convert("RGB"))[None])[0]
            with_prefix, bare = model.encode_text(tokenize([f"A photo depicts {candidate}", candidate]))
            references = model.encode_text(
                tokenize([f"A photo depicts {text}" for text in drawing.references])
            )
        pictures.append(picture)
        texts.append(bare)
        expected = 2.5 * max(_cosine(picture, with_prefix), 0), 100 * max(_cosine(picture, bare), 0)
        assert scaled.sample_scores()[index] == pytest.approx(expected[0], abs=1e-5)
        assert percent.sample_scores()[index] == pytest.approx(expected[1], abs=1e-5 * 100)
        alike = max(0.0, *(_cosine(with_prefix, reference) for reference in references))
        harmonic = 2 * expected[0] * alike / (expected[0] + alike) if expected[0] else 0.0
        assert with_references.sample_scores()[index] == pytest.approx(harmonic, abs=1e-5)
    cosines = np.array([[_cosine(text, picture) for picture in pictures] for text in texts])
    own, mean = cosines.diagonal(), (cosines.sum(axis=1) - cosines.diagonal()) / (len(texts) - 1)
    assert margin.sample_scores() == pytest.approx(100 * (own - mean), abs=1e-3)
    assert retrieval.sample_scores().tolist() == (cosines.argmax(axis=1) == np.arange(len(texts))).tolist()
    assert scaled.corpus_score() == pytest.approx(scaled.sample_scores().mean())
    assert {score > 0 for score in scaled.sample_scores()} == {True, False}


def _cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


def test_signatures_tell_scale_prefix_and_weights(
    clip: ClipModel, samples: list[Sample], rasterizer: Rasterizer
) -> None:
    scaled, percent, *_ = ClipScorer(clip, samples[:2], rasterizer).measure(["a", "b"])
    assert scaled.signature.startswith("clip_score|scale:2.5|prefix:A photo depicts|model:tiny-clip,weights:")
    assert percent.signature.startswith("clip_score_100|scale:100|prefix:none|model:tiny-clip,weights:")


def test_a_long_caption_keeps_its_end_token_and_is_counted(
    clip: ClipModel, tiny_clip: Path, samples: list[Sample], rasterizer: Rasterizer
) -> None:
    tokenizer = open_clip.get_tokenizer(f"local-dir:{tiny_clip}")
    [tokens] = tokenizer([LONG])
    assert (len(tokens), tokens[-1]) == (77, tokenizer.eot_token_id)
    fits, too_long = "circle " * 75, "circle " * 76
    assert clip.truncated([fits, too_long, "", LONG]).tolist() == [False, True, False, True]
    scaled, percent, *_ = ClipScorer(clip, samples[:4], rasterizer).measure([fits, too_long, "", "a circle"])
    assert percent.details == {"truncation_rate": 0.25}
    assert scaled.details == {"truncation_rate": 0.5}  # its prefix takes three tokens


def test_long_captions_that_begin_alike_differ_only_in_what_is_kept(clip: ClipModel) -> None:
    first, same_start, other = clip.text_features([LONG, LONG + " and a square", "a square " + LONG])
    assert first == pytest.approx(same_start)
    assert first != pytest.approx(other)


def test_an_empty_candidate_scores_zero_and_a_drawing_without_a_picture_is_not_scored(
    clip: ClipModel, rasterizer: Rasterizer
) -> None:
    broken = sample(1).model_copy(update={"svg": "<svg><circle"})
    found = ClipScorer(clip, [sample(0), broken, sample(2)], rasterizer).measure(["", "", "a circle"])
    assert [one.name for one in found] == [
        *("clip_score", "clip_score_100", "clip_score_sentences"),
        *("ref_clip_score", "clip_margin", "clip_retrieval"),
    ]
    for measured in found:
        scores = measured.sample_scores()
        assert scores[0] == 0.0
        assert np.isnan(scores[1])
        assert measured.n_scored == 2


def test_a_transparent_drawing_is_not_black_on_black(rasterizer: Rasterizer) -> None:
    black = sample(0).model_copy(update={"svg": sample(0).svg.replace("red", "black")})
    white = sample(0).model_copy(update={"svg": sample(0).svg.replace("red", "white")})
    for drawing in (black, white):
        picture = picture_of(drawing, rasterizer)
        assert picture.getpixel((0, 0)) != picture.getpixel((256, 256))


def test_random_weights_never_stand_in_for_missing_ones(tiny_clip: Path, tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_bytes((tiny_clip / "open_clip_config.json").read_bytes())
    with pytest.raises(Unavailable, match="holds no CLIP model that open_clip can load"):
        ClipModel.load(str(tmp_path))
    with pytest.raises(Unavailable, match="neither a folder nor in the hub's cache"):
        ClipModel.load("nobody/nothing")


def test_pictures_that_are_alike_are_not_told_apart(clip: ClipModel, rasterizer: Rasterizer) -> None:
    *_, margin, retrieval = ClipScorer(clip, [sample(0), sample(0)], rasterizer).measure(["a circle", "a"])
    assert margin.sample_scores() == pytest.approx([0.0, 0.0], abs=1e-6)
    assert retrieval.sample_scores().tolist() == [0.0, 0.0]


def test_sentences_are_read_one_by_one(clip: ClipModel, rasterizer: Rasterizer) -> None:
    scorer = ClipScorer(clip, [sample(0)] * 3, rasterizer)
    scaled, _, sentences, *_ = scorer.measure(
        ["A red circle.", "One more thing!", "A red circle. One more thing!"]
    )
    [first, second, both] = sentences.sample_scores()
    assert [first, second] == pytest.approx(scaled.sample_scores()[:2])
    assert both == pytest.approx((first + second) / 2)
