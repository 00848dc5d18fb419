"""Corpora made on demand: scenes and icons, canonicalized, split, written as JSON Lines with a report.

A drawing's split follows from the hash of its canonical text, so that equal drawings, however they
are written, never stand in two splits; one that looks like a drawing of another split is left out.
Held-out combinations of shape and colour, held-out concepts and the held-out icon family go to the test
split only. The stored `svg` is the raw text.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import get_args

from captioning.corpus import Sample, corpus_fingerprint, write_corpus
from captioning.errors import ConfigError
from rendering import CANONICALIZER_VERSION, RenderError, SvgRejected, canonicalize, load
from training.corpora.duplicates import NearIndex
from training.corpora.examine import digest, picture_hash
from training.corpora.icon_packages import HELD_OUT_FAMILY, PACKAGES, TRAINING_FAMILIES, Package
from training.corpora.icons import (
    concept,
    is_held_out_concept,
    read_icons,
)
from training.corpora.inputs import SPLITS, Split, appearing_together
from training.corpora.manifests import manifest_of, write_manifest
from training.corpora.processes import spread
from training.corpora.render_hash import METHOD, RenderHash
from training.corpora.scenes import Style, generate_scene, is_held_out

STYLES: tuple[Style, ...] = get_args(Style)

SCENES_SOURCE = "scenes"
_SEEDS_PER_BUILD = 100_000_000  # a build's seed is the first scene's, in such steps
_SCENE_SHARE = 8  # one scene in so many is for validation, one for test
_ICON_SHARE = 40


@dataclass(frozen=True)
class CorpusSpec:
    """What a corpus is made of."""

    scenes: int = 40_000  # in the training split; validation and test get a twentieth each
    icons: tuple[str, ...] = TRAINING_FAMILIES
    seed: int = 0
    style: Style = "description"
    max_canonical_chars: int = 1_500  # longer drawings are dropped, never cut


@dataclass(frozen=True)
class SplitReport:
    samples: int
    references: int
    by_source: dict[str, int]
    canonical_chars: dict[str, int]  # median, p90, max
    fingerprint: str


@dataclass(frozen=True)
class BuildReport:
    """What was written, and what was dropped for which reason."""

    spec: CorpusSpec
    canonicalizer_version: str
    render_hash: str
    splits: dict[Split, SplitReport]
    dropped: dict[str, int]


@dataclass(frozen=True)
class Candidate:
    """A sample with what decides on its split."""

    sample: Sample
    canonical_chars: int
    digest: str  # of the canonical text
    is_held_out: bool
    render_hash: RenderHash | None = None  # None: it was not drawn

    def split(self) -> Split:
        share = _SCENE_SHARE if self.sample.source == SCENES_SOURCE else _ICON_SHARE
        bucket = int(self.digest[:12], 16) % share
        return "test" if self.is_held_out or bucket == 1 else "validation" if bucket == 0 else "train"


@dataclass
class _Builder:
    """The splits as they fill up; every drawing is taken once, and nothing like it by another split."""

    dropped: Counter[str] = field(default_factory=Counter)
    splits: dict[Split, list[Candidate]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    seen: set[str] = field(default_factory=set)
    pictures: NearIndex[Split] = field(default_factory=NearIndex)

    def add(self, candidate: Candidate | str) -> bool:
        """Takes a candidate, or counts the reason why it is not taken."""
        reason = candidate if isinstance(candidate, str) else self._reason(candidate)
        if reason or isinstance(candidate, str):
            self.dropped[reason] += 1
            return False
        self.seen.add(candidate.digest)
        self.splits[candidate.split()].append(candidate)
        if candidate.render_hash is not None:
            self.pictures.add(candidate.render_hash, candidate.split())
        return True

    def _reason(self, candidate: Candidate) -> str:
        if candidate.digest in self.seen:
            return "the same drawing again"
        near = () if candidate.render_hash is None else self.pictures.near(candidate.render_hash)
        is_elsewhere = any(split != candidate.split() for split in near)
        return "looks like a drawing of another split" if is_elsewhere else ""


def build_corpus(
    spec: CorpusSpec,
    out: Path,
    cache_dir: Path,
    *,
    packages: Mapping[str, Package] = PACKAGES,
    workers: int = 2,
    progress: Callable[[str], None] = lambda message: None,
) -> BuildReport:
    """Writes train.jsonl, validation.jsonl and test.jsonl with their manifests, and report.json, to `out`.

    Raises:
        ConfigError: there is nothing to build, or icons are to get literal captions, which need the truth
            about every shape.
        CorpusError: an icon package that cannot be fetched or is not the pinned one.
    """
    if not (spec.icons or spec.scenes):
        raise ConfigError("there is nothing to build: no scenes (--scenes) and no icons (--icons)")
    if spec.icons and spec.style == "literal":
        raise ConfigError("literal captions are there for scenes only: leave out the icons (--icons '')")
    builder = _Builder()
    prepare = partial(prepare_icon, max_chars=spec.max_canonical_chars, draw=True)
    for candidate in spread(prepare, _icons(spec, cache_dir, packages, progress), workers):
        builder.add(candidate)
    progress("scenes")
    _add_scenes(builder, spec, workers)
    progress("writing")
    return _write(builder, spec, out)


def write_scenes(path: Path, *, split: Split, samples: int, style: str, seed: int = 0) -> int:
    """A corpus of scenes only: exactly `samples` of one split, different drawings."""
    spec = CorpusSpec(seed=seed, style=checked_style(style))
    return write_corpus(path, islice(scenes_of_split(split, spec), samples))


def scenes_of_split(split: Split, spec: CorpusSpec) -> Iterator[Sample]:
    """Different scenes of one split, without end."""
    seen: set[str] = set()
    for seed in scene_seeds(spec.seed):
        candidate = prepare_scene(seed, spec.style, spec.max_canonical_chars)
        if isinstance(candidate, Candidate) and candidate.split() == split and candidate.digest not in seen:
            seen.add(candidate.digest)
            yield candidate.sample


def checked_style(style: str) -> Style:
    known: dict[str, Style] = {name: name for name in STYLES}
    if style not in known:
        raise ConfigError(f"there is no caption style '{style}'. Known: {', '.join(STYLES)}")
    return known[style]


def prepare_scene(seed: int, style: Style, max_chars: int, draw: bool = False) -> Candidate | str:
    """The scene of a seed, or the reason why it is left out; with `draw`, it has its picture's hash."""
    scene = generate_scene(seed, style)
    sample = Sample(
        id=f"{SCENES_SOURCE}/{seed}",
        svg=scene.svg,
        references=scene.references,
        tags=(scene.truth.kind,),
        source=SCENES_SOURCE,
        license="Apache-2.0",
        caption_author="generator",
    )
    return _candidate(sample, is_held_out(scene.truth), max_chars, draw)


def prepare_icon(sample: Sample, max_chars: int, draw: bool = False) -> Candidate | str:
    held_out = sample.id.startswith(f"{HELD_OUT_FAMILY}/") or is_held_out_concept(concept(sample))
    return _candidate(sample, held_out, max_chars, draw)


def _candidate(sample: Sample, held_out: bool, max_chars: int, draw: bool) -> Candidate | str:
    try:
        drawing = load(sample.svg.encode())
        canonical = canonicalize(drawing)
        if len(canonical) > max_chars:
            return f"canonical text over {max_chars} characters"
        render_hash = picture_hash(drawing) if draw else None
    except SvgRejected as error:
        return f"refused: {error.code}"
    except RenderError as error:
        return f"no picture: {error.code}"
    return Candidate(sample, len(canonical), digest(canonical), held_out, render_hash)


def scene_seeds(seed: int) -> Iterable[int]:
    return count(seed * _SEEDS_PER_BUILD)


def _icons(
    spec: CorpusSpec, cache_dir: Path, packages: Mapping[str, Package], progress: Callable[[str], None]
) -> Iterator[Sample]:
    for family in spec.icons:
        progress(f"{family} icons")
        yield from read_icons(family, cache_dir, spec.style, packages)


def _add_scenes(builder: _Builder, spec: CorpusSpec, workers: int) -> None:
    """Scenes until every split has its number; what is beyond a split's number is passed over."""
    wanted = Counter({"train": spec.scenes, "validation": spec.scenes // 20, "test": spec.scenes // 20})
    prepare = partial(prepare_scene, style=spec.style, max_chars=spec.max_canonical_chars, draw=True)
    candidates = spread(prepare, scene_seeds(spec.seed), workers)
    while wanted.total():
        candidate = next(candidates)
        if isinstance(candidate, str):
            builder.add(candidate)
        elif wanted[candidate.split()] and builder.add(candidate):
            wanted[candidate.split()] -= 1


def _write(builder: _Builder, spec: CorpusSpec, out: Path) -> BuildReport:
    with appearing_together(out) as folder:
        splits = {split: _write_split(folder, split, found) for split, found in builder.splits.items()}
        report = BuildReport(spec, CANONICALIZER_VERSION, METHOD, splits, dict(builder.dropped))
        (folder / "report.json").write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")
    return report


def _write_split(out: Path, split: Split, candidates: Sequence[Candidate]) -> SplitReport:
    """Sorted by hash: a shuffle that is the same each time."""
    mixed = sorted(candidates, key=lambda candidate: candidate.digest)
    path = out / f"{split}.jsonl"
    write_corpus(path, (candidate.sample for candidate in mixed))
    fingerprint = corpus_fingerprint(path)
    pairs = ((candidate.sample, candidate.digest) for candidate in mixed)
    write_manifest(out, manifest_of(split, fingerprint, pairs))
    lengths = sorted(candidate.canonical_chars for candidate in mixed) or [0]
    return SplitReport(
        samples=len(mixed),
        references=sum(len(candidate.sample.references) for candidate in mixed),
        by_source=dict(Counter(candidate.sample.source or "" for candidate in mixed)),
        canonical_chars={
            "median": round(statistics.median(lengths)),
            "p90": lengths[len(lengths) * 9 // 10],
            "max": lengths[-1],
        },
        fingerprint=fingerprint,
    )
