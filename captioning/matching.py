"""How well captions and drawings find one another, given how alike a model says they are. Knows no model."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]


def recall(likeness: Floats, right: Bools, k: int) -> float:
    """The share of rows with something right among the k columns that are most alike.

    Ties count against the model: a column as like as a right one comes before it.

    Args:
        likeness, right: shape (n_queries, n_candidates), something right in every row.
    """
    best = np.where(right, likeness, -np.inf).max(axis=1, keepdims=True)
    before = ((likeness >= best) & ~right).sum(axis=1)
    return float((before < k).mean())


def preference(matched: Floats, mismatched: Floats) -> float:
    """The share of pairs in which the true caption is more alike than the false one; a tie is a miss."""
    return float((matched > mismatched).mean())
