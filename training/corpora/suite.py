"""The embedded test suite: drawings that no training split of ours has, chosen by hashes alone.

Half of its 80 scenes show combinations of shape and colour that are kept out of training. Of its 80
icons, all of the held-out family, 56 show what at least three training families draw too, 12 show
concepts that are kept out of training in every family, and 12 are anything else.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from captioning.corpus import Sample
from training.corpora.build import Candidate, CorpusSpec, prepare_icon, prepare_scene, scene_seeds
from training.corpora.icon_packages import HELD_OUT_FAMILY, TRAINING_FAMILIES
from training.corpora.icons import (
    concept,
    is_held_out_concept,
    read_icons,
)

_SPEC = CorpusSpec(seed=10)  # seeds far from those of training corpora
_SCENES = 40  # of each kind
_ICONS = {"common": 56, "unseen concept": 12, "other": 12}
_FAMILIES_OF_COMMON = 3


def held_out_suite(cache_dir: Path) -> list[Sample]:
    """All samples: scenes with known and with unseen combinations, then icons by group."""
    return [*suite_scenes(), *suite_icons(cache_dir)]


def suite_scenes() -> list[Sample]:
    known: list[Sample] = []
    unseen: list[Sample] = []
    for scene in _test_scenes():
        (unseen if scene.is_held_out else known).append(scene.sample)
        if min(len(known), len(unseen)) >= _SCENES:
            break
    return [*known[:_SCENES], *unseen[:_SCENES]]


def _test_scenes() -> Iterator[Candidate]:
    """Scenes of seeds that no corpus uses: which ones they are must not hang on the canonical text."""
    for seed in scene_seeds(_SPEC.seed):
        scene = prepare_scene(seed, _SPEC.style, _SPEC.max_canonical_chars)
        if isinstance(scene, Candidate):
            yield scene


def suite_icons(cache_dir: Path) -> list[Sample]:
    families = ({concept(sample) for sample in read_icons(family, cache_dir)} for family in TRAINING_FAMILIES)
    drawn_by = Counter(chain.from_iterable(families))
    icons = sorted(read_icons(HELD_OUT_FAMILY, cache_dir), key=_order)
    short = [icon for icon in icons if len(icon.svg) <= _SPEC.max_canonical_chars]
    return [
        sample
        for group, number in _ICONS.items()
        for sample in islice(_usable(icon for icon in short if _group(icon, drawn_by) == group), number)
    ]


def _usable(icons: Iterator[Sample]) -> Iterator[Sample]:
    return (icon for icon in icons if isinstance(prepare_icon(icon, _SPEC.max_canonical_chars), Candidate))


def _group(icon: Sample, drawn_by: Counter[str]) -> str:
    if is_held_out_concept(concept(icon)):
        return "unseen concept"
    return "common" if drawn_by[concept(icon)] >= _FAMILIES_OF_COMMON else "other"


def _order(sample: Sample) -> str:
    return hashlib.sha256(sample.id.encode()).hexdigest()
