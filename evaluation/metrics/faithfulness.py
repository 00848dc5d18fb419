"""Faithfulness: whether a caption is true of its drawing, judged against the drawing and not references.

Claims are colours, shapes, counts, relations and texts. Precision is the share of decided claims that are
true, so that less than 1 is hallucination; recall is how much of the drawing's colours (by area), shapes and
texts is told, and whether its like shapes are counted; the score is their harmonic mean. All are of the
corpus: claims are added up over samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from captioning.corpus import Sample
from captioning.pipeline import as_bytes
from evaluation.metrics.statistics import Floats, Measured
from faithfulness import Facts, check, read_facts
from rendering import SvgRejected, load

VERSION = 3  # of the grammar and the geometry


def facts_of(samples: Sequence[Sample]) -> list[Facts | None]:
    """What each drawing shows; None where it is refused or shows nothing that can be told."""
    return [_facts(sample.svg) for sample in samples]


def faithfulness(captions: Sequence[str], drawings: Sequence[Facts | None]) -> list[Measured]:
    """A caption that claims nothing scores 0; a drawing with nothing to tell is not scored."""
    statistics = np.array([_counts(*pair) for pair in zip(captions, drawings, strict=True)])
    claims = np.nansum(statistics[:, :3], axis=0)
    abstention = float(claims[2] / claims.sum()) if claims.sum() else 0.0
    signature = f"own|v:{VERSION}"
    return [
        replace(
            Measured("faithfulness", statistics, _f_score, f"faithfulness|f1|{signature}"),
            details={"undecidable_rate": abstention},
        ),
        Measured("claim_precision", statistics, _precision, f"claim_precision|{signature}"),
        Measured("claim_recall", statistics, _recall, f"claim_recall|{signature}"),
    ]


def _facts(svg: str) -> Facts | None:
    try:
        facts = read_facts(load(as_bytes(svg)))
    except SvgRejected:
        return None
    return facts if facts.marks or facts.ground or facts.texts else None


def _counts(caption: str, facts: Facts | None) -> list[float]:
    """Claims true, false and undecidable; told, and to tell."""
    if facts is None:
        return [np.nan] * 5
    checked = check(caption, facts)
    verdicts = [checked.count(verdict) for verdict in ("true", "false", "undecidable")]
    return [*verdicts, checked.told, checked.to_tell]


def _precision(sums: Floats) -> Floats:
    return _ratio(sums[..., 0], sums[..., 0] + sums[..., 1])


def _recall(sums: Floats) -> Floats:
    return _ratio(sums[..., 3], sums[..., 4])


def _f_score(sums: Floats) -> Floats:
    precision, recall = _precision(sums), _recall(sums)
    return _ratio(2 * precision * recall, precision + recall)


def _ratio(part: Floats, whole: Floats) -> Floats:
    """0 where there is no whole."""
    return np.divide(part, whole, out=np.zeros_like(np.asarray(whole, dtype=np.float64)), where=whole > 0)
