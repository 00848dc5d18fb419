"""Groups of a split by their drawings, and what captions look like."""

from __future__ import annotations

import pytest

from captioning.corpus import Sample
from evaluation.candidates import Candidate
from evaluation.captions import caption_statistics, repeats_itself, seems_english
from evaluation.errors import Unavailable
from evaluation.scoring import Score, score
from evaluation.strata import strata


@pytest.fixture
def mixed(samples: list[Sample]) -> list[Sample]:
    start = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">'
    bodies = [
        '<circle cx="50" cy="50" r="20" fill="red"/>',
        "".join(f'<path d="M{x} 0L{x + 1} 9L{x} 9Z" fill="#{x:06x}"/>' for x in range(10, 30)),
        '<text x="9" y="50">Hi</text><circle cx="50" cy="50" r="20" fill="red"/>',
    ]
    authors = ("a person", "BLIP-2", None)
    return [
        sample.model_copy(update={"svg": f"{start}{body}</svg>", "caption_author": author})
        for sample, body, author in zip(samples, bodies, authors, strict=False)
    ]


def test_drawings_are_grouped_by_what_they_are_made_of(mixed: list[Sample]) -> None:
    found = {
        name: {group: [int(index) for index in inside.nonzero()[0]] for group, inside in groups.items()}
        for name, groups in strata(mixed).items()
    }
    assert found["elements"] == {"0 to 3": [0, 2], "11 or more": [1]}
    assert found["path commands"] == {"0 to 0": [0, 2], "26 to 100": [1]}
    assert found["colours"] == {"0 to 1": [0, 2], "4 or more": [1]}
    assert found["has text"] == {"no": [0, 1], "yes": [2]}
    assert found["caption author"] == {"BLIP-2": [1], "a person": [0], "unknown": [2]}
    assert strata(mixed[:1]) == {}, "one group is the whole"
    refused = mixed[0].model_copy(update={"svg": "no drawing"})
    assert list(strata([mixed[0], refused])["tokens"]) == ["0 to 50", "refused"]


def test_scores_of_a_group_are_of_its_samples_alone(mixed: list[Sample]) -> None:
    made = {
        sample.id: Candidate(id=sample.id, caption=caption)
        for sample, caption in zip(mixed, ("a red circle", "", "a blue circle"), strict=True)
    }
    [scored] = score(mixed, [made], clip=Unavailable("no weights"), metrics=("rouge_l",))
    groups = scored.card.by_stratum["elements"]
    few, many = groups["0 to 3"]["rouge_l"], groups["11 or more"]["rouge_l"]
    assert isinstance(few, Score)
    assert isinstance(many, Score)
    assert (few.score, few.n, many.score, many.n) == (1.0, 2, 0.0, 1)


def test_captions_are_described(samples: list[Sample]) -> None:
    captions = ["a red circle", "a red circle", "circle", None, "", "un cercle bleu sur fond blanc"]
    found = caption_statistics(captions, samples[:6])
    assert found is not None
    assert found.words == pytest.approx((3 + 3 + 1 + 6) / 4)
    assert found.length_ratio == pytest.approx(13 / (3 + 3 + 3 + 7))
    assert found.distinct == 0.75
    assert found.most_common == ("a red circle", 2)
    assert (found.repetitive, found.not_english) == (0.0, 0.25)
    assert caption_statistics(["", None], samples[:2]) is None


def test_repetition_and_other_languages_are_noticed() -> None:
    assert repeats_itself("a red circle and a red circle")
    assert not repeats_itself("a red circle and a red square")
    assert not seems_english("\u4e00\u4e2a\u7ea2\u8272\u7684\u5706")
    assert not seems_english("ein roter Kreis auf Grund")
    assert seems_english("red circle")
    assert seems_english("A caf\u00e9 sign with the text 24.")
