"""From candidates to scores: which samples count, which metrics could be had, and why not the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from captioning.corpus import Sample
from evaluation.candidates import Candidate
from evaluation.captions import CaptionStatistics, caption_statistics
from evaluation.errors import CandidatesError, Unavailable
from evaluation.metrics.claims import colour_accuracy, count_accuracy, shape_accuracy
from evaluation.metrics.concepts import concept_match
from evaluation.metrics.faithfulness import facts_of, faithfulness
from evaluation.metrics.meteor import meteor
from evaluation.metrics.statistics import RESAMPLES, SEED, Bools, Measured
from evaluation.metrics.text import bleu, cider, rouge_l
from evaluation.metrics.tokens import Tokenized, tokenize_all
from evaluation.strata import Strata, strata

Metric = Literal[
    "bleu",
    "rouge_l",
    "meteor",
    "cider",
    "clip_score",
    "faithfulness",
    "concept_match",
    "colour_accuracy",
    "shape_accuracy",
    "count_accuracy",
]
METRICS: tuple[Metric, ...] = get_args(Metric)
NO_CANDIDATE = "there is no candidate for it"

Given = ParamSpec("Given")

Outcome = list[list[Measured]] | Unavailable
"""For each captioner what a metric finds, or why it finds nothing."""

ClipMeasure = Callable[[Sequence[str]], list[Measured]]
"""CLIP Score of candidates, one for each sample of the split in order."""

_OF_WORDS: frozenset[Metric] = frozenset(("bleu", "rouge_l", "meteor", "cider"))
_SCORES: dict[Metric, tuple[str, ...]] = {
    "bleu": ("bleu_1", "bleu_2", "bleu_3", "bleu_4"),
    "clip_score": (
        *("clip_score", "clip_score_100", "clip_score_sentences"),
        *("ref_clip_score", "clip_margin", "clip_retrieval"),
    ),
    "faithfulness": ("faithfulness", "claim_precision", "claim_recall"),
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
    by_stratum: dict[
        str, dict[str, dict[str, Score | NoScore]]
    ] = {}  # elements, tokens, ... -> group -> scores
    captions: CaptionStatistics | None = None  # None where there is no caption


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
    groups = by_source(samples), strata(samples)
    return [
        _scored(candidates, found, *groups, caption_statistics([one.caption for one in candidates], samples))
        for candidates, found in zip(made, measured, strict=True)
    ]


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
    return [
        candidates.get(sample.id, Candidate(id=sample.id, caption=None, error=NO_CANDIDATE))
        for sample in samples
    ]


def _measure(
    samples: Sequence[Sample],
    captions: Sequence[Sequence[str]],
    *,
    clip: ClipMeasure | Unavailable,
    metrics: Sequence[Metric],
) -> list[dict[str, Measured | NoScore]]:
    """For each captioner its scores by name; a sample without a candidate counts as an empty one here."""
    with ThreadPoolExecutor(1) as beside:  # Java's processes count words while this one looks at pictures
        words = beside.submit(
            of_words,
            [one for one in metrics if one in _OF_WORDS],
            captions,
            [sample.references for sample in samples],
        )
        others = {
            one: _outcome(_of_drawings, one, captions, samples, clip)
            for one in metrics
            if one not in _OF_WORDS
        }
        outcomes = others | words.result()
    results: list[dict[str, Measured | NoScore]] = [{} for _ in captions]
    for metric in metrics:
        outcome = outcomes[metric]
        if isinstance(outcome, Unavailable):
            missing = NoScore(unavailable=str(outcome))
            for result in results:
                result.update(dict.fromkeys(_SCORES.get(metric, (metric,)), missing))
        else:
            for result, found in zip(results, outcome, strict=True):
                result.update({one.name: one for one in found})
    return results


def of_words(
    metrics: Sequence[Metric], captions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]
) -> dict[Metric, Outcome]:
    """What BLEU, ROUGE-L, METEOR and CIDEr find, which compare a caption's words with its references'."""
    if not metrics:
        return {}
    try:
        tokens = tokenize_all(captions, references)
    except Unavailable as error:
        return dict.fromkeys(metrics, error)
    longest_first = sorted(metrics, key=lambda metric: metric != "meteor")
    with ThreadPoolExecutor(2) as threads:  # most of METEOR's time is Java's: the others run beside it
        found = threads.map(lambda metric: _outcome(_WORD_METRICS[metric], tokens), longest_first)
        return dict(zip(longest_first, found, strict=True))


_WORD_METRICS: dict[Metric, Callable[[list[Tokenized]], list[list[Measured]]]] = {
    "bleu": lambda tokens: [bleu(one) for one in tokens],
    "rouge_l": lambda tokens: [[rouge_l(one)] for one in tokens],
    "meteor": lambda tokens: [[one] for one in meteor(tokens)],
    "cider": lambda tokens: [[cider(one)] for one in tokens],
}


def _of_drawings(
    metric: Metric,
    captions: Sequence[Sequence[str]],
    samples: Sequence[Sample],
    clip: ClipMeasure | Unavailable,
) -> list[list[Measured]]:
    """For each captioner what one metric finds that looks at drawings, tags, or claims."""
    references = [sample.references for sample in samples]
    match metric:
        case "clip_score":
            if isinstance(clip, Unavailable):
                raise clip
            return [clip(texts) for texts in captions]
        case "faithfulness":
            drawings = facts_of(samples)
            return [faithfulness(texts, drawings) for texts in captions]
        case "concept_match":
            return [[concept_match(texts, samples)] for texts in captions]
        case "colour_accuracy":
            return [[colour_accuracy(texts, references)] for texts in captions]
        case "shape_accuracy":
            return [[shape_accuracy(texts, references)] for texts in captions]
        case _:
            return [[count_accuracy(texts, references)] for texts in captions]


def _outcome(
    find: Callable[Given, list[list[Measured]]], *given: Given.args, **named: Given.kwargs
) -> Outcome:
    try:
        return find(*given, **named)
    except Unavailable as error:
        return error


def _scored(
    candidates: Sequence[Candidate],
    found: Mapping[str, Measured | NoScore],
    sources: Mapping[str, Bools],
    parts: Strata,
    captions: CaptionStatistics | None,
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
        by_source=_by_group(scores, sources),
        by_stratum={stratum: _by_group(scores, groups) for stratum, groups in parts.items()},
        captions=captions,
    )
    by_sample = [
        {"id": candidate.id} | {name: column[index] for name, column in columns.items()}
        for index, candidate in enumerate(candidates)
    ]
    return Scored(card, by_sample, measured)


def _by_group(
    scores: Mapping[str, Measured | NoScore], groups: Mapping[str, Bools]
) -> dict[str, dict[str, Score | NoScore]]:
    return {
        group: {name: _corpus_score(one, inside) for name, one in scores.items()}
        for group, inside in groups.items()
    }


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
