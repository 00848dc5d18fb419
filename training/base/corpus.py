"""What the embedded model learns from: generated scenes and icons of the training families.

Held-out families, concepts and combinations never get in, nor drawings that are too long or that
stand in the shipped test suite.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from rendering import SvgRejected, canonicalize, load
from training.corpora import icons, scenes

_CHUNK = 64
_VALIDATION_SHARE = 50  # one drawing in so many


@dataclass(frozen=True)
class Pair:
    """One drawing as the model reads it, with the captions that fit it."""

    canonical: str
    references: tuple[str, ...]
    source: str  # "scene", or an icon family

    @property
    def is_validation(self) -> bool:
        digest = hashlib.sha256(self.canonical.encode()).digest()
        return int.from_bytes(digest[:8], "big") % _VALIDATION_SHARE == 0


def build_pairs(
    n_scenes: int, families: tuple[str, ...], cache_dir: Path, *, max_chars: int, processes: int
) -> tuple[list[Pair], Counter[str]]:
    """All pairs, each canonical text once, and how many were left out by reason."""
    dropped: Counter[str] = Counter()
    icon_samples = chain.from_iterable(icons.read_icons(family, cache_dir) for family in families)
    wanted = (sample for sample in icon_samples if not icons.is_held_out_concept(icons.concept(sample)))
    raw_icons = ((sample.svg, sample.references, sample.id.partition("/")[0]) for sample in wanted)
    pairs: dict[str, Pair] = {}
    with ProcessPoolExecutor(processes) as pool:
        made = chain(
            pool.map(_scene_pair, range(n_scenes), chunksize=_CHUNK),
            pool.map(_icon_pair, raw_icons, chunksize=_CHUNK),
        )
        for pair in made:
            if isinstance(pair, str):
                dropped[pair] += 1
            elif len(pair.canonical) > max_chars:
                dropped["too long"] += 1
            elif pair.canonical in pairs:
                dropped["duplicate"] += 1
            else:
                pairs[pair.canonical] = pair
    return list(pairs.values()), dropped


def _scene_pair(seed: int) -> Pair | str:
    scene = scenes.generate_scene(seed)
    if scenes.is_held_out(scene.truth):
        return "held-out combination"
    return _pair(scene.svg, scene.references, "scene")


def _icon_pair(icon: tuple[str, tuple[str, ...], str]) -> Pair | str:
    return _pair(*icon)


def _pair(svg: str, references: tuple[str, ...], source: str) -> Pair | str:
    try:
        return Pair(canonicalize(load(svg.encode())), references, source)
    except SvgRejected as error:
        return f"rejected: {error.code}"
