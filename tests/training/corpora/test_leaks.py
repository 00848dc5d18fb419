from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.corpora.drawings import SVG, corpus, sample
from training.corpora.examine import Facts, examine
from training.corpora.inspection import inspect_corpus
from training.corpora.leaks import Extent, content_words

CAPTION = "A red camera on a tripod."
MARK = '<path d="M1 1h9v9z"/>'

PLANTED: list[tuple[str, str, Extent]] = [
    (f"<title>A red camera on a tripod</title>{MARK}", "title", "caption"),
    (f"<desc>tripods, one red cameras</desc>{MARK}", "desc", "all words"),
    ('<path id="cameraBody" d="M1 1h9v9z"/>', "id", "some words"),
    ('<path class="icon icon-camera" d="M1 1h9v9z"/>', "class", "some words"),
    ('<g aria-label="red camera, tripod"><path d="M1 1h9v9z"/></g>', "aria-label", "all words"),
    ('<path data-name="Camera 2" d="M1 1h9v9z"/>', "data", "some words"),
    (
        f'<g xmlns:i="http://www.inkscape.org/namespaces/inkscape" i:label="camera">{MARK}</g>',
        "label",
        "some words",
    ),
    (f'{MARK}<text x="1" y="9">CAMERA</text>', "drawn text", "some words"),
]


@pytest.mark.parametrize(("marks", "place", "extent"), PLANTED)
def test_a_planted_leak_is_found_where_it_stands(marks: str, place: str, extent: Extent) -> None:
    facts = examine(sample("x1", SVG.format(marks), CAPTION))
    assert isinstance(facts, Facts)
    assert facts.leaks == {place: extent}
    assert facts.canonical_leaks == {}


def test_the_name_of_the_file_leaks_too() -> None:
    facts = examine(sample("pack/camera-red", SVG.format(MARK), "An icon.", "A red camera"))
    assert isinstance(facts, Facts)
    assert facts.leaks == {"file name": "all words"}


def test_words_that_say_nothing_are_no_leak() -> None:
    facts = examine(sample("x1", SVG.format(f"<title>An icon of the sign</title>{MARK}"), "An icon of a car"))
    assert isinstance(facts, Facts)
    assert not facts.leaks


def test_shares_are_of_the_usable_samples(tmp_path: Path) -> None:
    path = corpus(
        tmp_path / "c.jsonl",
        sample("x1", SVG.format(PLANTED[0][0]), CAPTION),
        sample("x2", SVG.format(f"<title>camera</title>{MARK}"), CAPTION),
        sample("x3", "<svg", CAPTION),
    )
    leaks = inspect_corpus({"c": path}).files["c"]["leaks"]
    assert leaks == {"title": {"caption": 0.5, "all words": 0.5, "some words": 1.0}}


def test_content_words() -> None:
    assert content_words("The twoApples and a glass-house of 3 buses, drawings") == {
        "two", "apple", "glass", "house", "buse", "drawing",
    }  # fmt: skip
