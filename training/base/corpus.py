"""What the embedded model learns from: generated scenes and icons of the training families.

Held-out families, concepts and combinations never get in, nor drawings that are too long. Every icon
comes twice, as it is and in another frame and ink: families draw on grids of their own, and a model
that has seen a heart on three grids only does not know it on a fourth.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from captioning.atomic import replacing_file
from captioning.corpus import Sample
from rendering import SvgRejected, canonicalize, load
from training.corpora import icons, scenes
from training.corpora.processes import spread

_SCENE = "scene"
_VALIDATION_SHARE = 50  # one drawing in so many
_PAINTED_SHARE = 0.4  # of the one-coloured icons in their second frame
_ZOOM_OUT = (1.0, 1.35)  # side of the second frame in sides of the first
_MOST_SPARED = 4  # times shorter than the file that a canonical text may be: longer files are not tried
_VIEW_BOX = re.compile(r'viewBox="([^"]+)"')


@dataclass(frozen=True)
class Pair:
    """One drawing as the model reads it, with the captions that fit it."""

    canonical: str
    references: tuple[str, ...]
    source: str  # "scene", or an icon family
    concept: str = ""  # of an icon

    @property
    def is_scene(self) -> bool:
        return self.source == _SCENE

    @property
    def is_validation(self) -> bool:
        """The same for all drawings of one thing in one family: they are variants of each other."""
        unit = f"{self.source} {self.concept}" if self.concept else self.canonical
        digest = hashlib.sha256(unit.encode()).digest()
        return int.from_bytes(digest[:8], "big") % _VALIDATION_SHARE == 0


def build_pairs(
    n_scenes: int, families: tuple[str, ...], cache_dir: Path, *, max_chars: int, processes: int
) -> tuple[list[Pair], Counter[str]]:
    """All pairs, each canonical text once, and how many were left out by reason."""
    dropped: Counter[str] = Counter()
    pairs: dict[str, Pair] = {}
    made = chain(
        spread(_scene_pair, range(n_scenes), processes),
        spread(partial(_icon_pair, max_chars=max_chars), _icons(families, cache_dir), processes),
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


def read_pairs(
    path: Path, n_scenes: int, families: tuple[str, ...], cache_dir: Path, *, max_chars: int, processes: int
) -> list[Pair]:
    """All pairs, made once and then read from the JSON Lines file `path`."""
    if not path.exists():
        pairs, dropped = build_pairs(n_scenes, families, cache_dir, max_chars=max_chars, processes=processes)
        print(f"{len(pairs):,} drawings; left out: {dict(dropped)}", file=sys.stderr, flush=True)
        with replacing_file(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(pair)) + "\n" for pair in pairs)
    with path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [Pair(**row | {"references": tuple(row["references"])}) for row in rows]


def common_concepts(pairs: Iterable[Pair]) -> frozenset[str]:
    """The concepts that more than one family draws."""
    families = {(pair.source, pair.concept) for pair in pairs if pair.concept}
    drawn_by = Counter(concept for _, concept in families)
    return frozenset(concept for concept, number in drawn_by.items() if number > 1)


def _icons(families: tuple[str, ...], cache_dir: Path) -> Iterator[Sample]:
    """Every icon as it is, then every icon in another frame."""
    for painted_share in (0.0, _PAINTED_SHARE):
        for family in families:
            for icon in icons.read_icons(family, cache_dir, painted_share=painted_share):
                if not icons.is_held_out_concept(icons.concept(icon)):
                    yield icon if not painted_share else icon.model_copy(update={"svg": _reframed(icon)})


def _reframed(icon: Sample) -> str:
    """The icon smaller and off the middle."""
    rng = random.Random(f"frame {icon.id}")

    def larger(match: re.Match[str]) -> str:
        left, top, width, height = map(float, match[1].split())
        zoom = rng.uniform(*_ZOOM_OUT)
        left -= rng.uniform(0, zoom - 1) * width
        top -= rng.uniform(0, zoom - 1) * height
        return f'viewBox="{left:g} {top:g} {width * zoom:g} {height * zoom:g}"'

    return _VIEW_BOX.sub(larger, icon.svg, count=1)


def _scene_pair(seed: int) -> Pair | str:
    scene = scenes.generate_scene(seed)
    if scenes.is_held_out(scene.truth):
        return "held-out combination"
    return _pair(scene.svg, scene.references, _SCENE)


def _icon_pair(icon: Sample, max_chars: int) -> Pair | str:
    if len(icon.svg) > _MOST_SPARED * max_chars:
        return "too long"
    return _pair(icon.svg, icon.references, icon.id.partition("/")[0], icons.concept(icon))


def _pair(svg: str, references: tuple[str, ...], source: str, concept: str = "") -> Pair | str:
    try:
        return Pair(canonicalize(load(svg.encode())), references, source, concept)
    except SvgRejected as error:
        return f"rejected: {error.code}"
