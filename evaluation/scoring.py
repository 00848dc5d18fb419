"""From candidates to scores: which samples count, which metrics could be had, and why not the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from captioning.corpus import Sample
from evaluation.candidates import Candidate
from evaluation.errors import CandidatesError, Unavailable
from evaluation.metrics.claims import colour_accuracy, count_accuracy, shape_accuracy
from evaluation.metrics.concepts import concept_match
from evaluation.metrics.meteor import meteor
from evaluation.metrics.statistics import RESAMPLES, SEED, Bools, Measured
from evaluation.metrics.text import bleu, cider, rouge_l
from evaluation.metrics.tokens import Tokenized, tokenize_all

Metric = Literal[
    "bleu",
    "rouge_l",
    "meteor",
    "cider",
    "clip_score",
    "concept_match",
    "colour_accuracy",
    "shape_accuracy",
    "count_accuracy",
]
METRICS: tuple[Metric, ...] = get_args(Metric)

Thing = TypeVar("Thing")

ClipMeasure = Callable[[Sequence[str]], list[Measured]]
"""CLIP Score of candidates, one for each sample of the split in order."""

_SCORES: dict[Metric, tuple[str, ...]] = {
    "bleu": ("bleu_1", "bleu_2", "bleu_3", "bleu_4"),
    "clip_score": ("clip_score", "clip_score_100"),
}
"""Where a metric has other scores than one of its own name."""


class Score(BaseModel):
    model_config = ConfigDict(frozen=True)

    score: float
    low: float | None  # of the 95 % bootstrap interval; None with fewer than two samples
    high: float | None
    n: int  # samples that the score is of
    signature: str
    details: dict[str, float] = Field(default={}, exclude_if=lambda details: not details)


class NoScore(BaseModel):
    model_config = ConfigDict(frozen=True)

    unavailable: str  # why


class ScoreCard(BaseModel):
    """How one list of candidates did on one split."""

    model_config = ConfigDict(frozen=True)

    samples: int
    scored: int  # samples with a candidate, an empty one included
    empty: int  # candidates that are blank: they score 0
    unscored: dict[str, str]  # sample id -> why it has no candidate; such a sample is in no score
    scores: dict[str, Score | NoScore]
    by_source: dict[str, dict[str, Score | NoScore]]  # empty where all samples are from one source


@dataclass(frozen=True)
class Scored:
    """One captioner's scores: of the corpus, and of each sample as `{"id": ..., <score>: ...}`."""

    card: ScoreCard
    by_sample: list[dict[str, Any]]  # None where a sample has no score
    measured: dict[str, Measured]  # what the scores come from, to compare captioners by


def score(
    samples: Sequence[Sample],
    captioners: Sequence[Mapping[str, Candidate]],
    *,
    clip: ClipMeasure | Unavailable,
    metrics: Sequence[Metric] = METRICS,
) -> list[Scored]:
    """Score each captioner's candidates, given by sample id, on one split.

    Raises:
        CandidatesError: a candidate for a sample that is not in the split.
    """
    if not captioners:
        return []
    made = [_in_order(samples, candidates) for candidates in captioners]
    captions = [[candidate.caption or "" for candidate in candidates] for candidates in made]
    measured = _measure(samples, captions, clip=clip, metrics=metrics)
    groups = by_source(samples)
    return [_scored(candidates, found, groups) for candidates, found in zip(made, measured, strict=True)]


def by_source(samples: Sequence[Sample]) -> dict[str, Bools]:
    """Which samples are from which source, by name; nothing where there is only one."""
    sources = np.array([sample.source or "unknown" for sample in samples])
    names = sorted(set(sources.tolist()))
    return {name: sources == name for name in names} if len(names) > 1 else {}


def _in_order(samples: Sequence[Sample], candidates: Mapping[str, Candidate]) -> list[Candidate]:
    """A candidate for each sample of the split, with an error where there is none."""
    if unknown := candidates.keys() - {sample.id for sample in samples}:
        raise CandidatesError(
            f"{len(unknown)} candidates are for no sample of the corpus, such as '{min(unknown)}'. "
            "Is it the corpus that they were made for?"
        )
    error = "there is no candidate for it"
    return [
        candidates.get(sample.id, Candidate(id=sample.id, caption=None, error=error)) for sample in samples
    ]


def _measure(
    samples: Sequence[Sample],
    captions: Sequence[Sequence[str]],
    *,
    clip: ClipMeasure | Unavailable,
    metrics: Sequence[Metric],
) -> list[dict[str, Measured | NoScore]]:
    """For each captioner its scores by name; a sample without a candidate counts as an empty one here."""
    results: list[dict[str, Measured | NoScore]] = [{} for _ in captions]
    tokens = _tokenized(samples, captions)
    for metric in metrics:
        try:
            measured = _apply(metric, captions, samples, tokens, clip)
        except Unavailable as error:
            missing = NoScore(unavailable=str(error))
            for result in results:
                result.update(dict.fromkeys(_SCORES.get(metric, (metric,)), missing))
        else:
            for result, found in zip(results, measured, strict=True):
                result.update({one.name: one for one in found})
    return results


def _apply(
    metric: Metric,
    captions: Sequence[Sequence[str]],
    samples: Sequence[Sample],
    tokens: list[Tokenized] | Unavailable,
    clip: ClipMeasure | Unavailable,
) -> list[list[Measured]]:
    """For each captioner what one metric finds."""
    references = [sample.references for sample in samples]
    match metric:
        case "bleu":
            return [bleu(one) for one in _required(tokens)]
        case "rouge_l":
            return [[rouge_l(one)] for one in _required(tokens)]
        case "meteor":
            return [[one] for one in meteor(_required(tokens))]
        case "cider":
            return [[cider(one)] for one in _required(tokens)]
        case "clip_score":
            measure = _required(clip)
            return [measure(texts) for texts in captions]
        case "concept_match":
            return [[concept_match(texts, samples)] for texts in captions]
        case "colour_accuracy":
            return [[colour_accuracy(texts, references)] for texts in captions]
        case "shape_accuracy":
            return [[shape_accuracy(texts, references)] for texts in captions]
        case "count_accuracy":
            return [[count_accuracy(texts, references)] for texts in captions]


def _tokenized(samples: Sequence[Sample], captions: Sequence[Sequence[str]]) -> list[Tokenized] | Unavailable:
    try:
        return tokenize_all(captions, [sample.references for sample in samples])
    except Unavailable as error:
        return error


def _required(thing: Thing | Unavailable) -> Thing:
    if isinstance(thing, Unavailable):
        raise thing
    return thing


def _scored(
    candidates: Sequence[Candidate],
    found: Mapping[str, Measured | NoScore],
    groups: Mapping[str, Bools],
) -> Scored:
    has_caption = np.array([candidate.caption is not None for candidate in candidates])
    measured = {name: one.only(has_caption) for name, one in found.items() if isinstance(one, Measured)}
    columns = {
        name: [None if np.isnan(value) else float(value) for value in one.sample_scores()]
        for name, one in measured.items()
    }
    scores = {**found, **measured}
    card = ScoreCard(
        samples=len(candidates),
        scored=int(has_caption.sum()),
        empty=sum(
            candidate.caption is not None and not candidate.caption.strip() for candidate in candidates
        ),
        unscored={candidate.id: candidate.reason for candidate in candidates if candidate.caption is None},
        scores={name: _corpus_score(one) for name, one in scores.items()},
        by_source={
            group: {name: _corpus_score(one, inside) for name, one in scores.items()}
            for group, inside in groups.items()
        },
    )
    by_sample = [
        {"id": candidate.id} | {name: column[index] for name, column in columns.items()}
        for index, candidate in enumerate(candidates)
    ]
    return Scored(card, by_sample, measured)


def _corpus_score(measured: Measured | NoScore, inside: Bools | None = None) -> Score | NoScore:
    if isinstance(measured, NoScore):
        return measured
    if inside is not None:
        measured = measured.only(inside)
    if not measured.n_scored:
        return NoScore(unavailable="no sample could be scored")
    low, high = measured.interval() or (None, None)
    return Score(
        score=measured.corpus_score(),
        low=low,
        high=high,
        n=measured.n_scored,
        signature=f"{measured.signature}|bootstrap:{RESAMPLES},seed:{SEED}",
        details=measured.details,
    )
