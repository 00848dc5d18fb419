"""The floor that takes the caption of the most alike training drawing."""

from __future__ import annotations

from pathlib import Path

import pytest

from captioning.corpus import Sample, write_corpus
from evaluation.captioners.nearest import NearestCaptioner, svg_tokens
from evaluation.errors import Unavailable
from evaluation.suite import NearestSpec
from evaluation.workbench import Workbench


def _drawing(name: str, inside: str) -> Sample:
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">{inside}</svg>'
    return Sample(id=name, svg=svg, references=(f"a {name}", "another reference"))


TRAINING = [
    _drawing("triangle", '<path d="M50 10 90 90H10Z" fill="red"/>'),
    _drawing("circle", '<circle cx="50" cy="50" r="40" fill="red"/>'),
    _drawing(
        "bars", '<rect x="10" y="10" width="20" height="80"/><rect x="60" y="40" width="20" height="50"/>'
    ),
]


@pytest.mark.parametrize(
    ("inside", "caption"),
    [
        ('<circle cx="51" cy="49" r="39" fill="blue"/>', "a circle"),
        ('<path d="M50 12 88 88H12Z" fill="green"/>', "a triangle"),
        ('<rect x="12" y="11" width="21" height="78"/>', "a bars"),
    ],
)
def test_the_nearest_drawings_first_reference_is_taken(inside: str, caption: str) -> None:
    query = _drawing("query", inside)
    [candidate] = NearestCaptioner(TRAINING, [query]).caption([query])
    assert candidate.caption == caption


def test_the_split_is_never_looked_at() -> None:
    same = _drawing("circle", '<circle cx="50" cy="50" r="38" fill="red"/>')
    copy = _drawing("copy", '<circle r="40" cx="50" cy="50" fill="#f00"/>')
    for split in ([same], [copy]):  # the same id; the same drawing under another id
        [candidate] = NearestCaptioner(TRAINING, split).caption(split)
        assert candidate.caption != "a circle"
    with pytest.raises(Unavailable, match="no drawing of the training corpus"):
        NearestCaptioner(TRAINING, TRAINING)


def test_a_drawing_that_is_refused_costs_only_itself() -> None:
    bad = _drawing("bad", "").model_copy(update={"svg": "no drawing"})
    good = _drawing("good", '<circle cx="51" cy="49" r="39"/>')
    refused, candidate = NearestCaptioner([*TRAINING, bad], [bad, good]).caption([bad, good])
    assert refused.reason.startswith("not_svg: ")
    assert candidate.caption == "a circle"


def test_tokens_are_names_commands_and_coarse_values() -> None:
    assert svg_tokens('<path d="M90 448 375 875V521Z" fill="#4169e1"/>') == [
        *("<path", "d=", "M", "2", "9", "8", "18", "V", "10", "Z"),
        *("fill=", "#46e"),
    ]


def test_without_its_corpus_it_says_how_to_make_one(tmp_path: Path, samples: list[Sample]) -> None:
    corpus = tmp_path / "made" / "train.jsonl"
    spec = NearestSpec(kind="nearest", corpus=str(corpus))
    with Workbench(samples) as workbench:
        with pytest.raises(Unavailable, match=r"python -m training corpus build --out .*/made`"):
            workbench.captioner(spec)
        write_corpus(corpus, TRAINING)
        candidates = list(workbench.captioner(spec).caption(samples))
    assert {candidate.caption for candidate in candidates} == {"a circle"}
