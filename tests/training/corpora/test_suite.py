"""The shipped test suite is what its rules say, and the scenes in it can be made again."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from captioning.corpus import read_corpus
from rendering import canonicalize, load
from tests.training.corpora.packages import make_package, squares
from training.corpora import suite
from training.corpora.examine import canonical_digest
from training.corpora.icons import read_icons
from training.corpora.scenes import generate_scene, is_held_out
from training.corpora.suite import UNSEEN_SOURCE, suite_icons, suite_scenes

SUITE = Path(__file__).parents[3] / "evaluation" / "suites" / "embedded" / "test.jsonl"
SAMPLES = list(read_corpus(SUITE))
SCENES = [sample for sample in SAMPLES if sample.id.startswith("scenes/")]


def test_the_scenes_are_generated_equal() -> None:
    assert suite_scenes() == SCENES


def test_half_of_the_scenes_show_unseen_combinations() -> None:
    seeds = [int(sample.id.split("/")[1]) for sample in SCENES]
    assert [is_held_out(generate_scene(seed).truth) for seed in seeds] == [False] * 100 + [True] * 100
    assert [sample.source == UNSEEN_SOURCE for sample in SCENES] == [False] * 100 + [True] * 100


def test_the_icons_are_of_the_held_out_family() -> None:
    icons = [sample for sample in SAMPLES if sample not in SCENES]
    assert len(icons) == 250
    assert {sample.id.split("/")[0] for sample in icons} == {"tabler"}
    assert {(sample.source, sample.license) for sample in icons} == {("@tabler/icons@3.51.0", "MIT")}


def test_every_drawing_is_short_and_there_once() -> None:
    texts = [canonicalize(load(sample.svg.encode())) for sample in SAMPLES]
    assert max(map(len, texts)) <= 1_500
    assert len(set(texts)) == len(SAMPLES) == 450


def test_what_a_training_family_draws_the_same_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = make_package(tmp_path, squares("bell", "house", "kite"))
    monkeypatch.setattr(suite, "TRAINING_FAMILIES", ("one", "two", "three"))
    monkeypatch.setattr(suite, "HELD_OUT_FAMILY", "four")
    families = dict.fromkeys(("one", "two", "three", "four"), package)
    monkeypatch.setattr(suite, "read_icons", partial(read_icons, packages=families))
    icons = suite_icons(tmp_path, ())
    assert len(icons) == 3
    digest = canonical_digest(icons[1])
    assert digest
    assert suite_icons(tmp_path, {digest}) == [icons[0], icons[2]]
