from __future__ import annotations

import re
from pathlib import Path

import pytest

from captioning.errors import ConfigError
from tests.training.corpora.drawings import HOUSE, HOUSE_AGAIN, HOUSE_MOVED, SVG, corpus, different, sample
from training.corpora.examine import Facts, examine
from training.corpora.inputs import corpus_files
from training.corpora.inspection import Group, Inspection, inspect_corpus
from training.corpora.inspection_page import page

HOSTILE = '<script>alert("1")</script>'
RICH = SVG.format(
    '<g stroke="red"><path fill="none" d="M1 1L5 5L9 1"/><circle cx="4" cy="4" r="3" fill="#00f"/></g>'
    '<text x="2" y="20">Open</text>'
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("inspected")
    train = [sample(f"s{n}", different(n), "A caption of words", license="MIT") for n in range(8)]
    train += [
        sample("house", HOUSE, "A house", "A small house with a door", source="a", tags=("house",)),
        sample("twin", HOUSE_AGAIN, "A house"),
        sample("broken", "<svg"),
        sample("rich", RICH, "An open sign"),
    ]
    test = [
        sample("moved", HOUSE_MOVED, "A home"),
        sample(f"x{HOSTILE}", different(50), HOSTILE, tags=(HOSTILE,)),
    ]
    corpus(folder / "train.jsonl", *train)
    corpus(folder / "test.jsonl", *test)
    return corpus_files([folder])


@pytest.fixture(scope="module")
def inspection(files: dict[str, Path]) -> Inspection:
    return inspect_corpus(files, show=20)


def test_strata_are_counted_per_file(inspection: Inspection) -> None:
    train = inspection.files["train"]
    assert train["samples"] == 12
    assert train["unusable"] == {"refused: not_svg": 1}
    assert train["license"] == {"MIT": 8, "not stated": 4}
    assert train["source"] == {"not stated": 11, "a": 1}
    assert train["quantities"]["references"]["strata"] == {"1": 11, "2": 1}
    assert train["has text"] == {"yes": 1, "no": 10}
    words = train["quantities"]["caption words"]
    assert (words["count"], words["min"], words["median"], words["max"]) == (13, 2, 4, 6)
    assert "tokens" not in train["quantities"]


def test_facts_of_a_drawing_are_read_from_its_canonical_text() -> None:
    facts = examine(sample("rich", RICH))
    assert isinstance(facts, Facts)
    assert (facts.elements, facts.path_commands, facts.has_text) == (3, 3, True)
    assert facts.colours == 3  # red, blue, and the text's black


def test_planted_duplicates_are_found(inspection: Inspection) -> None:
    assert inspection.groups == [
        Group("render", True, (("train", "house"), ("train", "twin"), ("test", "moved"))),
        Group("canonical", False, (("train", "house"), ("train", "twin"))),
    ]
    found = inspection.summary()["duplicates"]
    assert found["render"] == {"groups": 1, "samples": 3, "groups across files": 1}
    assert found["canonical"] == {"groups": 1, "samples": 2, "groups across files": 0}


def test_equal_texts_are_told_apart_from_like_pictures(tmp_path: Path) -> None:
    path = corpus(
        tmp_path / "c.jsonl", sample("a", HOUSE), sample("b", HOUSE_AGAIN), sample("c", different(1))
    )
    assert inspect_corpus({"c": path}).groups == [Group("canonical", False, (("c", "a"), ("c", "b")))]


def test_the_page_is_whole_and_safe(inspection: Inspection, files: dict[str, Path]) -> None:
    html = page(inspection, files, seed=0)
    assert HOSTILE not in html
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 3  # id, caption and tag
    assert set(re.findall(r'src="([^"]{20})', html)) == {"data:image/png;base64"[:20]}
    assert "<svg" not in html.replace("&lt;svg", "")
    assert "The file is not an SVG" in html  # of the drawing that is refused
    assert "3 samples, pictures alike" in html


def test_samples_are_drawn_by_seed(files: dict[str, Path]) -> None:
    def drawn(seed: int) -> list[tuple[str, str]]:
        return inspect_corpus(files, show=4, seed=seed).drawn

    assert drawn(1) == drawn(1)
    assert len(drawn(1)) == 4
    assert drawn(1) != drawn(2)


def test_several_processes_find_the_same(tmp_path: Path) -> None:
    path = corpus(tmp_path / "many.jsonl", *(sample(f"s{n}", different(n % 40)) for n in range(310)))
    alone, together = (inspect_corpus({"many": path}, workers=workers) for workers in (1, 2))
    assert alone == together
    assert len(alone.groups) == 40


def test_a_folder_without_splits_and_a_file_named_twice_are_wrong_use(
    files: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="the folder has no train, validation, test"):
        corpus_files([tmp_path])
    with pytest.raises(ConfigError, match=r"test\.jsonl is named twice"):
        corpus_files([files["test"], files["train"].parent])
