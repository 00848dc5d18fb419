from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from captioning.corpus import Sample, corpus_fingerprint, read_corpus, write_corpus
from captioning.errors import ConfigError, CorpusError
from tests.training.corpora.drawings import HOUSE, HOUSE_AGAIN, HOUSE_MOVED, corpus, different, sample
from training.corpora.inputs import SPLITS
from training.corpora.manifests import read_manifest
from training.corpora.rebuilding import rebuild
from training.corpora.splitting import Kept, SplitSpec, assign, split_corpus

HALVES = SplitSpec(shares=(0.4, 0.3, 0.3))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty drawings; one of them three times; one that is refused and one that is blank."""
    many = [sample(f"s{n}", different(n), tags=(f"t{n % 10}",), source=f"pack{n % 3}@1") for n in range(30)]
    houses = [
        sample(f"house{n}", svg, source=source)
        for n, (svg, source) in enumerate([(HOUSE, "a"), (HOUSE_AGAIN, "b"), (HOUSE_MOVED, "tabler@3")])
    ]
    bad = [
        sample("bad", "<svg"),
        sample("blank", '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"/>'),
    ]
    return corpus(tmp_path_factory.mktemp("mixed") / "all.jsonl", *many, *houses, *bad)


@pytest.fixture(scope="module")
def divided(mixed: Path) -> Path:
    split_corpus([mixed], mixed.parent / "out", HALVES)
    return mixed.parent / "out"


def split_of(folder: Path) -> dict[str, str]:
    return {sample.id: split for split in SPLITS for sample in read_corpus(folder / f"{split}.jsonl")}


def test_every_sample_is_in_one_split_or_dropped_with_its_reason(divided: Path) -> None:
    report = json.loads((divided / "report.json").read_text())
    found = split_of(divided)
    assert len(found) == 33
    assert set(found.values()) == set(SPLITS)
    assert report["dropped"] == {"no picture: blank": 1, "refused: not_svg": 1}
    assert report["dropped_ids"]["refused: not_svg"] == ["bad"]
    assert {split: part["samples"] for split, part in report["splits"].items()} == Counter(found.values())


def test_drawings_that_look_the_same_are_in_one_split(mixed: Path, tmp_path: Path) -> None:
    for seed in range(6):
        out = tmp_path / str(seed)
        report = split_corpus([mixed], out, SplitSpec(shares=(0.4, 0.3, 0.3), seed=seed))
        assert len({split_of(out)[f"house{n}"] for n in range(3)}) == 1
        assert report.clusters == {"number": 1, "largest": 3}


def test_the_same_corpus_is_divided_the_same_way_and_another_seed_divides_it_otherwise(
    mixed: Path, divided: Path, tmp_path: Path
) -> None:
    backwards = corpus(tmp_path / "back.jsonl", *reversed(list(read_corpus(mixed))))
    split_corpus([backwards], tmp_path / "same", HALVES)
    split_corpus([mixed], tmp_path / "other", SplitSpec(shares=(0.4, 0.3, 0.3), seed=1))
    assert split_of(tmp_path / "same") == split_of(divided)
    assert split_of(tmp_path / "other") != split_of(divided)


def test_a_held_out_source_takes_what_looks_like_it_along(mixed: Path, tmp_path: Path) -> None:
    spec = SplitSpec(shares=(0.9, 0.1, 0.0), held_out_sources=("tabler*", "pack2@1"))
    report = split_corpus([mixed], tmp_path, spec)
    for name, split in split_of(tmp_path).items():
        held_out = name.startswith("house") or (name[1:].isdigit() and int(name[1:]) % 3 == 2)
        assert (split == "test") == held_out
    assert report.moved_to_test == {"source pack2@1": 10, "source tabler*": 3}


def test_held_out_concepts_are_for_the_test_in_all_sources(mixed: Path, tmp_path: Path) -> None:
    report = split_corpus([mixed], tmp_path, SplitSpec((0.9, 0.1, 0.0), held_out_concepts=0.4))
    by_concept: dict[str, set[bool]] = {}
    for found in (each for split in SPLITS for each in read_corpus(tmp_path / f"{split}.jsonl")):
        if found.tags:
            by_concept.setdefault(found.tags[0], set()).add(split_of(tmp_path)[found.id] == "test")
    assert {frozenset(each) for each in by_concept.values()} == {frozenset([True]), frozenset([False])}
    assert report.moved_to_test["concept"] % 3 == 0


def test_duplicates_can_be_dropped_and_long_drawings_too(mixed: Path, tmp_path: Path) -> None:
    spec = SplitSpec(drop_duplicates=True, max_canonical_chars=200)
    dropped = split_corpus([mixed], tmp_path, spec).dropped
    assert dropped["the same drawing again"] == 1
    assert dropped["canonical text over 200 characters"] > 1


def test_shares_are_kept_within_chance() -> None:
    kept = [Kept(str(n), f"{n:x}", b"", "", "") for n in range(4_000)]
    splits, _ = assign(kept, range(len(kept)), SplitSpec((0.8, 0.1, 0.1)))
    shares = {split: number / len(kept) for split, number in Counter(splits).items()}
    assert shares == pytest.approx({"train": 0.8, "validation": 0.1, "test": 0.1}, abs=0.02)


@pytest.mark.parametrize("shares", [(0.9, 0.2, 0.1), (1.2, -0.1, -0.1), (float("nan"), 0.5, 0.5)])
def test_shares_that_cannot_be_are_refused(shares: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigError, match="must add up to 1"):
        SplitSpec(shares=shares)


def test_a_source_that_is_not_there_cannot_be_held_out(mixed: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no source 'tablr'.*tabler@3"):
        split_corpus([mixed], tmp_path, SplitSpec(held_out_sources=("tablr",)))


def test_an_id_in_two_files_is_named(mixed: Path, tmp_path: Path) -> None:
    other = corpus(tmp_path / "x.jsonl", sample("s1", different(77)))
    with pytest.raises(CorpusError, match=r"x\.jsonl: id 's1' is in another"):
        split_corpus([mixed, other], tmp_path / "out", HALVES)


def test_a_corpus_that_a_split_would_replace_is_refused(mixed: Path, tmp_path: Path) -> None:
    split_corpus([mixed], tmp_path, HALVES)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ConfigError, match=r"train\.jsonl: this corpus is read, and .* another folder"):
        split_corpus([tmp_path / ".." / tmp_path.name / "train.jsonl"], tmp_path, HALVES)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_interruption_leaves_no_mix_of_two_divisions(mixed: Path, tmp_path: Path) -> None:
    def interrupt(message: str) -> None:
        if message == "writing test":
            raise KeyboardInterrupt

    split_corpus([mixed], tmp_path, HALVES)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(KeyboardInterrupt):
        split_corpus([mixed], tmp_path, SplitSpec((0.4, 0.3, 0.3), seed=1), progress=interrupt)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_split_is_found_again_from_its_manifest(mixed: Path, divided: Path, tmp_path: Path) -> None:
    everything = rebuild([mixed], [divided / f"{split}.manifest.json" for split in SPLITS], tmp_path)
    for split, found in zip(SPLITS, everything, strict=True):
        assert found.is_complete
        assert found.is_identical
        assert corpus_fingerprint(tmp_path / f"{split}.jsonl") == corpus_fingerprint(
            divided / f"{split}.jsonl"
        )
        again = tmp_path / f"{split}.manifest.json"
        assert again.read_text() == (divided / f"{split}.manifest.json").read_text()


def test_a_manifest_has_neither_drawings_nor_captions(divided: Path) -> None:
    text = (divided / "train.manifest.json").read_text()
    assert "caption of" not in text
    assert "svg" not in text


def test_what_is_missing_or_changed_is_named(mixed: Path, divided: Path, tmp_path: Path) -> None:
    manifest = divided / "train.manifest.json"
    gone, redrawn, reworded, retagged, rewritten, *_ = (
        name for name in read_manifest(manifest).samples if name.startswith("s")
    )
    changes: dict[str, dict[str, Any]] = {
        redrawn: {"svg": different(99)},
        reworded: {"references": ("something else",)},
        retagged: {"tags": ("other",)},
    }

    def changed(each: Sample) -> Sample:
        update = changes.get(each.id, {})
        if each.id == rewritten:  # another dialect of the same drawing
            update = {"svg": each.svg.replace("<rect", "<g><rect").replace("/>", "/></g>")}
        return each.model_copy(update=update)

    write_corpus(tmp_path / "new.jsonl", (changed(each) for each in read_corpus(mixed) if each.id != gone))
    whole = divided / "test.manifest.json"
    complete, found = rebuild([tmp_path / "new.jsonl"], [whole, manifest], tmp_path / "out")
    assert complete.is_complete
    assert found.differences == {
        "missing": [gone],
        "changed drawing": [redrawn],
        "changed references": [reworded],
    }
    assert not found.is_complete
    assert not (tmp_path / "out").exists()


def test_a_corpus_that_a_rebuilt_split_would_replace_is_refused(divided: Path) -> None:
    manifest = divided / "test.manifest.json"
    with pytest.raises(ConfigError, match=r"test\.jsonl: this corpus is read"):
        rebuild([divided / "test.jsonl"], [manifest], divided)
    with pytest.raises(ConfigError, match="two manifests are of one split: name one each of test"):
        rebuild([divided / "test.jsonl"], [manifest, manifest], None)


def test_a_manifest_of_other_canonical_texts_cannot_be_verified(divided: Path, tmp_path: Path) -> None:
    path = tmp_path / "old.manifest.json"
    content = json.loads((divided / "test.manifest.json").read_text())
    path.write_text(json.dumps(content | {"canonicalizer_version": "0"}))
    with pytest.raises(CorpusError, match="canonical texts are of version 0"):
        read_manifest(path)
    path.write_text('{"split": "test"}')
    with pytest.raises(CorpusError, match="not a manifest of a split: canonicalizer_version: Field required"):
        read_manifest(path)
