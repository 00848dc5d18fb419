"""Batches, and which caption of a batch is true of which of its pictures.

Drawings share captions ("An outline icon of a heart" is in every family), so the usual contrastive
loss, in which a picture's own caption alone is right, would punish the model for being right. Here a
caption is right for every picture that has it among its references, and for every scene of the same
truth. Left out of the loss are pairs of which nobody can say: one concept drawn by two families, which
may use their names differently. Inside a family names are used alike, so that an outlined and a filled
heart are told apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import grid_sample

from training.base.corpus import Pair
from training.clip.corpus import meaning
from training.corpora.wording import bare

_WORDINGS: tuple[tuple[float, Callable[[str], str]], ...] = (
    (0.6, str),
    (0.2, "A photo depicts {}".format),  # as one of CLIP Score's scales puts it
    (0.2, lambda text: bare(text).removesuffix(".")),  # as alt text is often written
)
"""How references are put to the model: shares, which sum to 1, and what makes them so."""


@dataclass(frozen=True)
class Choice:
    """The drawings of a batch by position, each with one of its references, and as the model reads it."""

    indices: list[int]
    references: list[str]
    captions: list[str]


class Sampler:
    """Draws batches of icons and scenes; the same step is the same batch, whatever came before."""

    def __init__(
        self,
        pairs: Sequence[Pair],
        *,
        batch_size: int,
        scene_share: float,
        seed: int,
    ) -> None:
        self._pairs, self._seed = pairs, seed
        of_scenes = np.array([pair.is_scene for pair in pairs])
        scenes, icons = np.flatnonzero(of_scenes), np.flatnonzero(~of_scenes)
        n_scenes = round(batch_size * scene_share)
        self._groups = ((scenes, n_scenes), (icons, batch_size - n_scenes))

    def draw(self, step: int) -> Choice:
        rng = np.random.default_rng((self._seed, step))
        indices = [
            int(index)
            for group, wanted in self._groups
            for index in rng.choice(group, min(wanted, len(group)), replace=False)
        ]
        references = [str(rng.choice(self._pairs[index].references)) for index in indices]
        wordings = rng.choice(len(_WORDINGS), len(indices), p=[share for share, _ in _WORDINGS])
        captions = [_WORDINGS[i][1](text) for i, text in zip(wordings, references, strict=True)]
        return Choice(indices, references, captions)


def relations(pairs: Sequence[Pair], references: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Which captions are right for which pictures, which pairs are left out: both (pictures, captions).

    Args:
        references: one of each drawing; its caption says the same.
    """
    n = len(pairs)
    right, unknown = torch.eye(n, dtype=torch.bool), torch.zeros(n, n, dtype=torch.bool)
    by_meaning = _positions([meaning(pair) for pair in pairs])
    by_reference = _positions(references)
    for index, pair in enumerate(pairs):
        for other in by_meaning[meaning(pair)]:
            is_same_source = pairs[other].source == pair.source
            unknown[index, other] = not is_same_source
            right[index, other] |= is_same_source and pair.is_scene
        for text in pair.references:
            right[index, by_reference.get(text, [])] = True
    return right, unknown & ~right


def _positions(texts: Sequence[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for index, text in enumerate(texts):
        found.setdefault(text, []).append(index)
    return found


def contrastive_loss(logits: torch.Tensor, right: torch.Tensor, unknown: torch.Tensor) -> torch.Tensor:
    """Cross-entropy both ways, where the right answers share the probability equally."""
    logits = logits.masked_fill(unknown, float("-inf"))
    return (_one_way(logits, right) + _one_way(logits.T, right.T)) / 2


def _one_way(logits: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    found = logits.log_softmax(dim=1).masked_fill(~right, 0.0)
    return -(found.sum(dim=1) / right.sum(dim=1)).mean()


def shaken(inputs: torch.Tensor, seed: int) -> torch.Tensor:
    """Each picture a little moved and scaled, never mirrored or turned: captions tell left from right."""
    rng = torch.Generator().manual_seed(seed)
    n = len(inputs)
    scale = torch.empty(n, 2).uniform_(0.9, 1.2, generator=rng)
    shift = torch.empty(n, 2).uniform_(-0.08, 0.08, generator=rng)
    matrix = torch.zeros(n, 2, 3)
    matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, :, 2] = scale[:, 0], scale[:, 1], shift
    grid = torch.nn.functional.affine_grid(matrix, list(inputs.shape), align_corners=False)
    return grid_sample(inputs, grid, padding_mode="border", align_corners=False)
