from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

from captioning.corpus import Sample
from captioning.errors import CorpusError
from tests.training.corpora.packages import make_iconify_package, make_package, squares
from training.corpora.icon_colours import colour_name, colours_of
from training.corpora.icon_packages import HELD_OUT_FAMILY, PACKAGES, TRAINING_FAMILIES
from training.corpora.icon_words import LEARNED
from training.corpora.icons import (
    concept,
    fetch,
    is_held_out_concept,
    read_icons,
)
from training.corpora.palette import COLOURS, Palette


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


@pytest.mark.parametrize(
    ("family", "name", "thing"),
    [
        ("bootstrap", "box-arrow-in-left", "arrow into a square"),
        ("hugeicons", "cancel-square", "x mark"),
        ("hugeicons", "dashboard-square-01", "dashboard of tiles"),
        ("hugeicons", "grid2x", "grid of squares"),
        ("hugeicons", "pound-circle", "pound sign"),
        ("hugeicons", "pound-sterling", "pound sign"),
        ("ion", "school", "graduation cap"),
        ("lucide", "bolt", "hex nut"),
        ("material-symbols", "add-a-photo", "camera"),
        ("material-symbols", "cancel", "x mark"),
        ("material-symbols", "dashboard-2", "dashboard of tiles"),
        ("material-symbols", "no-meals", "fork and knife"),
        ("mdi", "human-male-male-child", "two men and a child"),
        ("octicon", "tools", "wrench"),
        ("phosphor", "arrow-square-in", "arrow into a square"),
        ("phosphor", "graph", "network graph"),
        ("tdesign", "dashboard-1", "dashboard of tiles"),
        ("tdesign", "dashboard", "gauge"),
        ("unicons", "favorite", "star"),
    ],
)
def test_a_name_can_mean_another_thing_in_one_family(
    tmp_path: Path, family: str, name: str, thing: str
) -> None:
    if family in ("lucide", "mdi"):
        package = make_package(tmp_path, squares(name), {"tags.json": {}, "meta.json": []})
    else:
        package = make_iconify_package(tmp_path, {name: "<path d='M0 0h9v9z'/>"}, dropped=r"(?<!-2)-0?\d$")
    (sample,) = read_icons(family, tmp_path, packages={family: package})
    assert concept(sample) == thing


@pytest.mark.parametrize(
    ("family", "brand", "thing"),
    [
        ("tdesign", "logo-qq", "qq-plot"),
        ("mingcute", "chrome", "chrome-reader-mode"),
        ("hugeicons", "deepseek", "sea"),
        ("mage", "visa", "visa-document"),
    ],
)
def test_logos_are_left_out(tmp_path: Path, family: str, brand: str, thing: str) -> None:
    package = make_iconify_package(tmp_path, dict.fromkeys((brand, thing), "<path d='M0 0h9v9z'/>"))
    samples = read_icons(family, tmp_path, packages={family: package})
    assert [sample.id for sample in samples] == [f"{family}/{thing}"]


def test_iconify_packages_tell_styles_by_endings(tmp_path: Path) -> None:
    body = '<path fill="currentColor" d="M{0} 1h9v9h-9z"/>'
    names = ("bell", "bell-line", "bell-02-solid", "bell-16", "house-up-line")
    package = make_iconify_package(
        tmp_path,
        {name: body.format(i) for i, name in enumerate(names)},
        style="filled",
        endings={"-line": "outline", "-solid": "filled", "-up-line": "two-tone"},
        skipped=r"-16$",
        dropped=r"-0\d$",
    )
    samples = {sample.id: sample for sample in read_icons("toy", tmp_path, packages={"toy": package})}
    assert {sample_id: sample.references[0] for sample_id, sample in samples.items()} == {
        "toy/bell": "A filled icon of a bell.",
        "toy/bell-line": "An outline icon of a bell.",
        "toy/bell-02-solid": "A filled icon of a bell.",
        "toy/house-up-line": "A two-tone icon of a house.",  # the longest ending counts
    }
    assert 'viewBox="0 0 24 32"' in samples["toy/bell"].svg
    assert 'viewBox="0 0 24 24"' in samples["toy/bell-line"].svg


def test_captions_name_the_colours_of_coloured_icons(tmp_path: Path) -> None:
    bodies = {
        "house": '<path fill="#f44336" d="M0 0h24v12H0z"/><path fill="#fafafa" d="M0 12h24v20H0z"/>',
        "bell": '<path fill="#2f88ff" d="M0 0h24v24H0z"/><path fill="#f44336" d="M0 0h2v2H0z"/>',
        "red-apple": '<path fill="#f44336" d="M0 0h24v24H0z"/>',
    }
    package = make_iconify_package(tmp_path, bodies, style="flat", is_coloured=True)
    first = [sample.references[0] for sample in read_icons("toy", tmp_path, packages={"toy": package})]
    assert first == [
        "A blue flat icon of a bell.",  # a spot of red is not named
        "A flat icon of a house in white and red.",
        "A flat icon of a red apple.",
    ]


def test_painted_icons_are_drawn_in_the_colour_that_they_are_said_to_have(tmp_path: Path) -> None:
    drawings = squares(*(f"{word}-bell" for word in "north south east west upper lower old new".split()))
    drawings |= {
        "kite": drawings.popitem()[1].replace("<path", '<path fill="none" stroke="currentColor"'),
    }
    packages = {"toy": make_package(tmp_path, drawings)}
    plain = list(read_icons("toy", tmp_path, packages=packages))
    painted = list(read_icons("toy", tmp_path, packages=packages, painted_share=1))
    assert painted == list(read_icons("toy", tmp_path, packages=packages, painted_share=1))
    for before, after in zip(plain, painted, strict=True):
        (colour,) = colours_of(after.svg)
        assert colours_of(before.svg) == ("black",)
        assert after.references[0] in (
            f"{article} {colour} icon of {bell(before)}." for article in ("A", "An")
        )


def bell(sample: Sample) -> str:
    return sample.references[0].removeprefix("An icon of ").removesuffix(".")


@pytest.mark.parametrize("name", COLOURS)
def test_colours_of_the_palette_are_called_by_their_names(name: str) -> None:
    for seed in range(300):
        assert colour_name(Palette(random.Random(seed)).ink(name).rgb) == name


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


def test_every_family_is_in_the_notice() -> None:
    notice = " ".join((Path(__file__).parents[3] / "NOTICE").read_text(encoding="utf-8").split())
    assert [family for family, package in PACKAGES.items() if package.copyright not in notice] == []


def test_everyday_concepts_are_never_held_out() -> None:
    assert not any(map(is_held_out_concept, ("house", "heart", "camera", "gear", "sun", "bicycle")))
    assert not any(map(is_held_out_concept, LEARNED))
    share = sum(is_held_out_concept(f"thing {i}") for i in range(5_000)) / 5_000
    assert 0.03 < share < 0.05
