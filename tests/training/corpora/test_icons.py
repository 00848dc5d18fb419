from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from captioning.errors import CorpusError
from tests.training.corpora.packages import make_package, squares
from training.corpora.icons import (
    HELD_OUT_FAMILY,
    PACKAGES,
    TRAINING_FAMILIES,
    concept,
    fetch,
    is_held_out_concept,
    read_icons,
)


def test_samples_carry_their_origin(tmp_path: Path) -> None:
    package = make_package(tmp_path, squares("bell", "bell-fill", "house-x"))
    samples = {sample.id: sample for sample in read_icons("toy", tmp_path, packages={"toy": package})}
    assert set(samples) == {"toy/bell", "toy/bell-fill", "toy/house-x"}
    bell = samples["toy/bell"]
    assert bell.references[0] == "An outline icon of a bell."  # there is a filled counterpart
    assert samples["toy/bell-fill"].references[0] == "A filled icon of a bell."
    assert samples["toy/house-x"].references[0] == "An icon of a house with an x."
    assert (bell.source, bell.license, bell.caption_author) == ("toy@1.0.0", "MIT", "name")
    assert concept(bell) == concept(samples["toy/bell-fill"]) == "bell"


def test_the_style_is_in_the_folder_or_the_middle_of_a_name(tmp_path: Path) -> None:
    package = make_package(
        tmp_path, squares("filled/bell", "thin/bell-thin", "person-up", "person-fill-up", "person")
    )
    first = [sample.references[0] for sample in read_icons("toy", tmp_path, packages={"toy": package})]
    assert first == [
        "A filled icon of a bell.",
        "A filled icon of a person with an arrow pointing up.",
        "An outline icon of a person with an arrow pointing up.",
        "An icon of a person.",
        "A thin outline icon of a bell.",
    ]


def test_metadata_gives_synonyms_and_brands(tmp_path: Path) -> None:
    rows = [
        {"name": "kite", "aliases": ["flying-toy"], "tags": ["Sport"]},
        {"name": "acme", "aliases": [], "tags": ["Brand / Logo"]},
    ]
    package = make_package(
        tmp_path, squares("kite", "acme", "google-maps", "dropbox-logo"), {"meta.json": rows}
    )
    (kite,) = read_icons("mdi", tmp_path, packages={"mdi": package})
    assert "An icon of a flying toy." in kite.references
    assert kite.tags == ("kite", "Sport")


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    package = replace(make_package(tmp_path, squares("bell")), sha512="other")
    with pytest.raises(CorpusError, match="is not the pinned"):
        fetch(package, tmp_path)


def test_npm_fetches_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry, cache = tmp_path / "registry", tmp_path / "cache"
    registry.mkdir()
    package = make_package(registry, squares("bell"))
    command = tmp_path / "npm"
    command.write_text(f'#!/bin/sh\n[ "$2" = toy@1.0.0 ] && cp {registry}/*.tgz "$5"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    archive = fetch(package, cache)
    assert archive.parent == cache
    command.write_text("#!/bin/sh\necho no network >&2\nexit 1\n")
    assert fetch(package, cache) == archive  # from the cache
    with pytest.raises(CorpusError, match=r"npm could not fetch toy@2\.0\.0: no network"):
        fetch(replace(package, version="2.0.0"), cache)


def test_without_npm_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = make_package(tmp_path, squares("bell"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CorpusError, match="npm is not installed"):
        fetch(package, tmp_path / "cache")


def test_an_unknown_family_is_named() -> None:
    with pytest.raises(CorpusError, match="no icon family 'icns'"):
        next(read_icons("icns", Path()))


def test_families() -> None:
    assert {*TRAINING_FAMILIES, HELD_OUT_FAMILY} == set(PACKAGES)
    assert HELD_OUT_FAMILY not in TRAINING_FAMILIES


def test_everyday_concepts_are_never_held_out() -> None:
    assert not any(map(is_held_out_concept, ("house", "heart", "camera", "gear", "sun", "bicycle")))
    share = sum(is_held_out_concept(f"thing {i}") for i in range(5_000)) / 5_000
    assert 0.03 < share < 0.05
