"""The embedded test suite: scenes and icons apart from those of training, chosen by hashes alone.

Half of its 200 scenes show combinations of shape and colour that are kept out of training; all are of
seeds that training corpora do not use, and are not compared with their drawings. Of its 250 icons, all of
the held-out family, 150 show what at least three training families draw too, 40 show concepts that are
kept out of training in every family, and 60 are anything else. An icon is passed over when its canonical
text is exactly that of an unpainted icon of a training family, as of a plain circle; one that only looks
like it, or like a painted one, is not.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator
from itertools import chain, islice
from pathlib import Path

from captioning.corpus import Sample
from training.corpora.build import Candidate, CorpusSpec, prepare_icon, prepare_scene, scene_seeds
from training.corpora.examine import canonical_digest
from training.corpora.icon_packages import HELD_OUT_FAMILY, TRAINING_FAMILIES
from training.corpora.icons import (
    concept,
    is_held_out_concept,
    read_icons,
)
from training.corpora.processes import spread

_SPEC = CorpusSpec(seed=10)  # seeds far from those of training corpora
_SCENES = 100  # of each kind
UNSEEN_SOURCE = "scenes of unseen combinations"  # scored apart from the others
_ICONS = {"common": 150, "unseen concept": 40, "other": 60}
_FAMILIES_OF_COMMON = 3


def held_out_suite(cache_dir: Path, workers: int = 2) -> list[Sample]:
    """All samples: scenes with known and with unseen combinations, then icons by group."""
    training_icons = chain.from_iterable(read_icons(family, cache_dir) for family in TRAINING_FAMILIES)
    trained = {digest for digest in spread(canonical_digest, training_icons, workers) if digest}
    return [*suite_scenes(), *suite_icons(cache_dir, trained)]


def suite_scenes() -> list[Sample]:
    known: list[Sample] = []
    unseen: list[Sample] = []
    for scene in _test_scenes():
        (unseen if scene.is_held_out else known).append(scene.sample)
        if min(len(known), len(unseen)) >= _SCENES:
            break
    marked = (scene.model_copy(update={"source": UNSEEN_SOURCE}) for scene in unseen[:_SCENES])
    return [*known[:_SCENES], *marked]


def _test_scenes() -> Iterator[Candidate]:
    """Scenes of seeds that no corpus uses: which ones they are must not hang on the canonical text."""
    for seed in scene_seeds(_SPEC.seed):
        scene = prepare_scene(seed, _SPEC.style, _SPEC.max_canonical_chars)
        if isinstance(scene, Candidate):
            yield scene


def suite_icons(cache_dir: Path, trained: Collection[str]) -> list[Sample]:
    """Icons by group, but for those whose canonical text has one of the digests `trained`."""
    families = ({concept(sample) for sample in read_icons(family, cache_dir)} for family in TRAINING_FAMILIES)
    drawn_by = Counter(chain.from_iterable(families))
    icons = sorted(read_icons(HELD_OUT_FAMILY, cache_dir), key=_order)
    short = [icon for icon in icons if len(icon.svg) <= _SPEC.max_canonical_chars]
    return [
        sample
        for group, number in _ICONS.items()
        for sample in islice(
            _usable((icon for icon in short if _group(icon, drawn_by) == group), trained), number
        )
    ]


def _usable(icons: Iterator[Sample], trained: Collection[str]) -> Iterator[Sample]:
    for icon in icons:
        prepared = prepare_icon(icon, _SPEC.max_canonical_chars)
        if isinstance(prepared, Candidate) and prepared.digest not in trained:
            yield icon


def _group(icon: Sample, drawn_by: Counter[str]) -> str:
    if is_held_out_concept(concept(icon)):
        return "unseen concept"
    return "common" if drawn_by[concept(icon)] >= _FAMILIES_OF_COMMON else "other"


def _order(sample: Sample) -> str:
    return hashlib.sha256(sample.id.encode()).hexdigest()
