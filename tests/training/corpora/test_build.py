from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from captioning.corpus import Sample, corpus_fingerprint, read_corpus
from captioning.errors import ConfigError
from rendering import canonicalize, load
from tests.training.corpora.drawings import HOUSE, HOUSE_MOVED, different
from tests.training.corpora.packages import make_package, squares
from training.corpora.build import (
    BuildReport,
    Candidate,
    CorpusSpec,
    build_corpus,
    prepare_icon,
    prepare_scene,
    write_scenes,
)
from training.corpora.inputs import SPLITS
from training.corpora.manifests import read_manifest
from training.corpora.scenes import generate_scene, is_held_out

SPEC = CorpusSpec(scenes=60, icons=("toy",), seed=3)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BuildReport]:
    folder = tmp_path_factory.mktemp("corpus")
    icons = squares(*(f"thing{letter}" for letter in "abcdefghij"))
    icons |= {"copy": icons["thinga"], "broken": "<svg", "long": long_drawing()}
    package = make_package(folder, icons)
    return folder / "out", build_corpus(SPEC, folder / "out", folder, packages={"toy": package})


def long_drawing() -> str:
    circles = "".join(f'<circle cx="{i}" cy="{i % 7}" r="2"/>' for i in range(90))
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 90 90">{circles}</svg>'


def samples_of(folder: Path) -> dict[str, list[Sample]]:
    return {split: list(read_corpus(folder / f"{split}.jsonl")) for split in SPLITS}


def test_the_report_counts_what_was_written(built: tuple[Path, BuildReport]) -> None:
    folder, report = built
    for split, samples in samples_of(folder).items():
        part = report.splits[split]  # type: ignore[index]
        assert part.samples == len(samples) == sum(part.by_source.values())
        assert part.references == sum(len(sample.references) for sample in samples)
        assert part.fingerprint == corpus_fingerprint(folder / f"{split}.jsonl")
    scenes = [report.splits[split].by_source["scenes"] for split in SPLITS]
    assert scenes == [60, 3, 3]
    assert json.loads((folder / "report.json").read_text())["dropped"] == report.dropped


def test_what_is_dropped_is_counted(built: tuple[Path, BuildReport]) -> None:
    dropped = built[1].dropped
    assert dropped["refused: not_svg"] == 1
    assert dropped["the same drawing again"] == 1
    assert dropped["canonical text over 1500 characters"] >= 1


def test_no_drawing_is_in_two_splits(built: tuple[Path, BuildReport]) -> None:
    samples = [sample for split in samples_of(built[0]).values() for sample in split]
    texts = [canonicalize(load(sample.svg.encode())) for sample in samples]
    assert len(set(texts)) == len(texts)


def test_what_looks_like_a_drawing_of_another_split_is_left_out(tmp_path: Path) -> None:
    both = {"a/house": HOUSE, "b/house": HOUSE_MOVED, "b/thing": different(1)}
    package = make_package(tmp_path, both, {"icons.json": {}}, folder="icons/a")
    report = build_corpus(
        CorpusSpec(scenes=0, icons=("toy", "tabler")),  # the second one is for the test only
        tmp_path / "out",
        tmp_path,
        packages={"toy": package, "tabler": replace(package, folder="icons/b")},
        workers=1,
    )
    assert report.dropped == {"looks like a drawing of another split": 1}
    assert [sample.id for sample in read_corpus(tmp_path / "out" / "test.jsonl")] == ["tabler/thing"]


def test_each_split_has_its_manifest(built: tuple[Path, BuildReport]) -> None:
    for split, samples in samples_of(built[0]).items():
        manifest = read_manifest(built[0] / f"{split}.manifest.json")
        assert list(manifest.samples) == [sample.id for sample in samples]
        assert manifest.fingerprint == corpus_fingerprint(built[0] / f"{split}.jsonl")


def test_held_out_combinations_are_in_the_test_split_only(built: tuple[Path, BuildReport]) -> None:
    splits = samples_of(built[0])
    for split in ("train", "validation"):
        seeds = [int(sample.id.split("/")[1]) for sample in splits[split] if sample.source == "scenes"]
        assert not any(is_held_out(generate_scene(seed).truth) for seed in seeds)


def test_the_held_out_family_and_concepts_are_for_the_test() -> None:
    def split_of(identity: str, shown: str) -> str:
        sample = Sample(id=identity, svg=generate_scene(1).svg, references=("x",), tags=(shown,))
        candidate = prepare_icon(sample, 1_500)
        assert isinstance(candidate, Candidate)
        return candidate.split()

    assert split_of("tabler/outline/house", "house") == "test"
    assert split_of("lucide/ladder", "ladder") == "test"
    assert split_of("lucide/house", "house") == "train"


def test_the_raw_text_is_stored() -> None:
    candidate = prepare_scene(5, "description", 1_500)
    assert isinstance(candidate, Candidate)
    assert candidate.sample.svg == generate_scene(5).svg


def test_building_again_gives_the_same_files(tmp_path: Path) -> None:
    spec = CorpusSpec(scenes=20, icons=())
    first, second = (
        build_corpus(spec, tmp_path / name, tmp_path, workers=n) for name, n in (("a", 1), ("b", 2))
    )
    assert first == second


def test_scenes_of_two_splits_are_different_drawings(tmp_path: Path) -> None:
    for split, number in (("train", 40), ("validation", 10)):
        path = tmp_path / f"{split}.jsonl"
        assert write_scenes(path, split=split, samples=number, style="alt") == number  # type: ignore[arg-type]
    train, validation = (list(read_corpus(tmp_path / f"{split}.jsonl")) for split in ("train", "validation"))
    assert not {sample.svg for sample in train} & {sample.svg for sample in validation}
    assert all(not sample.references[0].endswith(".") for sample in train)


def test_an_unknown_style_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no caption style 'poem'\. Known: description, alt, literal"):
        write_scenes(tmp_path / "x.jsonl", split="train", samples=1, style="poem")


def test_icons_have_no_literal_captions(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="for scenes only"):
        build_corpus(CorpusSpec(scenes=1, style="literal"), tmp_path / "out", tmp_path / "cache")
    assert not (tmp_path / "out").exists()


def test_nothing_to_build_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is nothing to build"):
        build_corpus(CorpusSpec(scenes=0, icons=()), tmp_path / "out", tmp_path / "cache")
    assert not (tmp_path / "out").exists()
