"""BLEU, ROUGE-L and CIDEr, counted by pycocoevalcap, the reference implementation of COCO captions."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version

import numpy as np
from pycocoevalcap.bleu import bleu_scorer
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from evaluation.errors import Unavailable
from evaluation.metrics.statistics import Floats, Measured, mean_of
from evaluation.metrics.tokens import Tokenized

MAX_ORDER = 4  # BLEU-4: n-grams of one to four tokens


def bleu(tokens: Tokenized) -> list[Measured]:
    """BLEU-1 to BLEU-4 of the corpus (Papineni et al., 2002), against the closest reference length."""
    statistics = np.array(
        [_bleu_counts(*pair) for pair in zip(tokens.candidates, tokens.references, strict=True)], dtype=float
    )
    return [
        Measured(
            f"bleu_{order}",
            statistics,
            partial(_bleu, order=order),
            _signature(f"bleu_{order}", "ref:closest"),
        )
        for order in range(1, MAX_ORDER + 1)
    ]


def rouge_l(tokens: Tokenized) -> Measured:
    """ROUGE-L (Lin, 2004) with beta 1.2; a candidate without tokens scores 0, whatever the reference."""
    rouge = Rouge()
    scores = [
        rouge.calc_score([candidate], references) if candidate else 0.0
        for candidate, references in zip(tokens.candidates, tokens.references, strict=True)
    ]
    return mean_of("rouge_l", scores, _signature("rouge_l", "beta:1.2"))


def cider(tokens: Tokenized) -> Measured:
    """CIDEr (Vedantam et al., 2015), range 0 to 10.

    Document frequencies come from the references of all samples and stay as they are when samples are
    resampled: compare systems on the same split only.

    Raises:
        Unavailable: fewer than two samples, whose n-grams all have the weight 0.
    """
    if len(tokens) < 2:
        raise Unavailable(
            "CIDEr weighs n-grams by how few samples' references have them, so it needs two samples or more"
        )
    candidates = {index: [text] for index, text in enumerate(tokens.candidates)}
    _, scores = Cider().compute_score(dict(enumerate(tokens.references)), candidates)
    return mean_of("cider", scores, _signature("cider", "n:4", "sigma:6", f"df:{len(tokens)}_samples"))


def _bleu_counts(candidate: str, references: list[str]) -> list[int]:
    """Lengths of candidate and closest reference, then n-grams written and n-grams right, by order."""
    cooked = bleu_scorer.cook_test(
        candidate, bleu_scorer.cook_refs(references, n=MAX_ORDER), "closest", n=MAX_ORDER
    )
    return [cooked["testlen"], cooked["reflen"], *cooked["guess"], *cooked["correct"]]


def _bleu(sums: Floats, *, order: int) -> Floats:
    """pycocoevalcap's formula, with its two tiny constants in place of divisions by zero."""
    length, reference_length = sums[..., 0], sums[..., 1]
    written = sums[..., 2 : 2 + order]
    right = sums[..., 2 + MAX_ORDER : 2 + MAX_ORDER + order]
    precision: Floats = np.prod((right + 1e-15) / (written + 1e-9), axis=-1) ** (1 / order)
    ratio = (length + 1e-15) / (reference_length + 1e-9)
    return precision * np.exp(np.minimum(0.0, 1 - 1 / ratio))


def _signature(name: str, *settings: str) -> str:
    return "|".join((name, *settings, "tok:ptb-3.4.1", f"pycocoevalcap:{version('pycocoevalcap')}"))
