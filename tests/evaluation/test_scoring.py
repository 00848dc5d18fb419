"""What counts, what does not, and how it is told."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from captioning.corpus import Sample
from evaluation.candidates import Candidate
from evaluation.errors import CandidatesError, Unavailable
from evaluation.metrics.statistics import Measured, mean_of
from evaluation.scoring import Metric, NoScore, Score, score

FAITHFULNESS = {"faithfulness", "claim_precision", "claim_recall"}
NO_CLIP = Unavailable("no weights")
QUICK: tuple[Metric, ...] = ("bleu", "rouge_l", "cider")  # METEOR takes seconds to start


def _candidates(*captions: str | None) -> dict[str, Candidate]:
    return {f"s{index}": Candidate(id=f"s{index}", caption=caption) for index, caption in enumerate(captions)}


def test_failures_and_gaps_are_states_of_their_own(samples: list[Sample]) -> None:
    made = _candidates("a red circle", "", None)
    [scored] = score(samples[:4], [made], clip=NO_CLIP, metrics=QUICK)
    card = scored.card
    assert (card.samples, card.scored, card.empty) == (4, 2, 1)
    assert card.unscored == {"s2": "the captioner gave no caption", "s3": "there is no candidate for it"}
    assert [row["rouge_l"] for row in scored.by_sample] == [1.0, 0.0, None, None]
    rouge = card.scores["rouge_l"]
    assert isinstance(rouge, Score)
    assert (rouge.score, rouge.n) == (0.5, 2)
    assert rouge.signature.endswith("|bootstrap:1000,seed:20240601")


def test_ciders_frequencies_do_not_depend_on_who_failed(samples: list[Sample]) -> None:
    all_made = _candidates("a red circle", "a green circle", "a blue circle")
    few_made = _candidates("a red circle", None, "a blue circle")
    everything, part = score(samples[:3], [all_made, few_made], clip=NO_CLIP, metrics=("cider",))
    assert part.by_sample[0] == everything.by_sample[0]
    assert part.by_sample[2] == everything.by_sample[2]


def test_a_metric_that_is_unavailable_says_why_and_no_number(
    samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    [scored] = score(samples, [_candidates("a red circle")], clip=NO_CLIP)
    assert set(scored.card.scores) == {
        *(
            "bleu_1",
            "bleu_2",
            "bleu_3",
            "bleu_4",
            "rouge_l",
            "meteor",
            "cider",
        ),
        *("clip_score", "clip_score_100", "clip_score_sentences"),
        *("ref_clip_score", "clip_margin", "clip_retrieval"),
        *("faithfulness", "claim_precision", "claim_recall"),
        *("concept_match", "colour_accuracy", "shape_accuracy", "count_accuracy"),
    }
    reasons = {"concept_match": "no sample's"}
    for name, missing in scored.card.scores.items():
        if not name.endswith("accuracy") and name not in FAITHFULNESS:
            assert isinstance(missing, NoScore)
            expected = "no weights" if "clip" in name else reasons.get(name, "needs Java")
            assert expected in missing.unavailable
    assert scored.by_sample[1].keys() == {"id", "colour_accuracy", "shape_accuracy", *FAITHFULNESS}


def test_one_sample_has_scores_without_intervals_and_no_cider(samples: list[Sample]) -> None:
    [scored] = score(samples[:1], [_candidates("a red circle")], clip=NO_CLIP, metrics=QUICK)
    assert isinstance(scored.card.scores["cider"], NoScore)
    bleu = scored.card.scores["bleu_2"]
    assert isinstance(bleu, Score)
    assert bleu.score == pytest.approx(1.0)
    assert (bleu.low, bleu.high) == (None, None)


def test_without_any_candidate_there_is_no_score(samples: list[Sample]) -> None:
    [scored] = score(samples, [{}], clip=_ones, metrics=("bleu", "clip_score"))
    assert set(scored.card.scores.values()) == {NoScore(unavailable="no sample could be scored")}


def _ones(candidates: Sequence[str]) -> list[Measured]:
    return [mean_of("clip_score", [1.0] * len(candidates), "clip")]


def test_scores_by_source_are_of_its_samples_alone(samples: list[Sample]) -> None:
    mixed = [
        sample.model_copy(update={"source": source})
        for sample, source in zip(samples[:5], ("scenes", "icons", "scenes", None, None), strict=True)
    ]
    made = _candidates("a red circle", "", "a blue circle", "a red circle", None)
    [scored] = score(mixed, [made], clip=NO_CLIP, metrics=("rouge_l",))
    found = {source: scores["rouge_l"] for source, scores in scored.card.by_source.items()}
    assert list(found) == ["icons", "scenes", "unknown"]
    assert {
        source: (one.score, one.n) if isinstance(one, Score) else one for source, one in found.items()
    } == {"icons": (0.0, 1), "scenes": (1.0, 2), "unknown": (1.0, 1)}
    [alike] = score(samples[:5], [made], clip=NO_CLIP, metrics=("rouge_l",))
    assert alike.card.by_source == {}, "one source is the whole"


def test_candidates_of_another_corpus_are_refused(samples: list[Sample]) -> None:
    with pytest.raises(CandidatesError, match="2 candidates are for no sample of the corpus, such as 's4'"):
        score(samples[:4], [_candidates("", "", "", "", "", "")], clip=NO_CLIP, metrics=QUICK)
