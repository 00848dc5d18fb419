"""Splits of any corpus: deterministic, and no drawing, nor one that looks the same, in two of them.

A cluster of equal or nearly equal drawings goes to one split as a whole. It goes to the test split when
one of its samples is held out, by its source or by its concept (the first tag). Otherwise a hash decides.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from captioning.corpus import corpus_fingerprint, read_corpus, write_corpus
from captioning.errors import ConfigError, CorpusError
from rendering import CANONICALIZER_VERSION
from training.corpora.duplicates import clusters, groups
from training.corpora.examine import Facts, identify
from training.corpora.inputs import SPLITS, Split, appearing_together, read_corpora, require_kept
from training.corpora.manifests import manifest_of, write_manifest
from training.corpora.processes import spread
from training.corpora.render_hash import METHOD, RenderHash

_SAMPLES_PER_NOTE = 200


@dataclass(frozen=True)
class SplitSpec:
    """How a corpus is divided."""

    shares: tuple[float, float, float] = (0.9, 0.05, 0.05)  # of the clusters, for train, validation, test
    held_out_sources: tuple[str, ...] = ()  # names of sources, as shell patterns: all for the test
    held_out_concepts: float = 0.0  # this share of the first tags: all for the test
    max_canonical_chars: int | None = None  # longer drawings are dropped, never cut
    drop_duplicates: bool = False  # keep one sample only of each canonical text
    seed: int = 0

    def __post_init__(self) -> None:
        if not (min(self.shares) >= 0 and abs(sum(self.shares) - 1) <= 1e-6):  # NaN is neither
            raise ConfigError(f"shares {self.shares} of train, validation and test must add up to 1")
        if not 0 <= self.held_out_concepts < 1:
            raise ConfigError(
                f"held_out_concepts is {self.held_out_concepts}: it is a share of the concepts, 0 to below 1"
            )


@dataclass(frozen=True)
class Kept:
    """A sample that can be used, without its drawing."""

    id: str
    digest: str
    render_hash: RenderHash
    source: str
    concept: str


@dataclass(frozen=True)
class SplitReport:
    """What was written, and what was dropped for which reason."""

    spec: SplitSpec
    canonicalizer_version: str
    render_hash: str
    splits: dict[Split, dict[str, int | str]]
    clusters: dict[str, int]  # of several samples: their number, and the size of the largest
    moved_to_test: dict[str, int]  # samples by what holds them out
    dropped: dict[str, int]
    dropped_ids: dict[str, list[str]] = field(repr=False)


def split_corpus(
    corpora: Sequence[Path],
    out: Path,
    spec: SplitSpec,
    *,
    workers: int = 2,
    progress: Callable[[str], None] = lambda message: None,
) -> SplitReport:
    """Writes train.jsonl, validation.jsonl and test.jsonl with their manifests, and report.json, to `out`.

    Raises:
        ConfigError: a held-out source that the corpus does not have, or a split would replace a corpus.
        CorpusError: a file cannot be read, has an id of another one, or nothing can be used.
    """
    require_kept(corpora, out, SPLITS)
    dropped: dict[str, list[str]] = {}
    kept = list(_usable(corpora, spec, workers, dropped, progress))
    if not kept:
        raise CorpusError(f"{_names(corpora)}: no sample can be used: {_counts(dropped) or 'there is none'}")
    _require_sources(spec, kept)
    progress("comparing pictures")
    labels = clusters([sample.digest for sample in kept], [sample.render_hash for sample in kept])
    splits, moved = assign(kept, labels, spec)
    several = groups(labels)
    with appearing_together(out) as folder:
        written: dict[Split, dict[str, int | str]] = {}
        for split in SPLITS:
            progress(f"writing {split}")
            written[split] = _write(corpora, folder, split, kept, splits)
        report = SplitReport(
            spec,
            CANONICALIZER_VERSION,
            METHOD,
            written,
            {"number": len(several), "largest": max(map(len, several), default=1)},
            dict(moved),
            _counts(dropped),
            dropped,
        )
        (folder / "report.json").write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")
    return report


def assign(kept: Sequence[Kept], labels: Sequence[int], spec: SplitSpec) -> tuple[list[Split], Counter[str]]:
    """The split of each sample, and how many samples are in the test split for which reason."""
    held_out: dict[int, str] = {}
    key: dict[int, str] = {}  # the least digest: it does not hang on the order of the samples
    for sample, label in zip(kept, labels, strict=True):
        key[label] = min(key.get(label, sample.digest), sample.digest)
        if reason := _held_out(sample, spec):
            held_out.setdefault(label, reason)
    moved = Counter(held_out[label] for label in labels if label in held_out)
    chosen = {label: _chosen(key[label], spec) for label in key if label not in held_out}
    return [chosen.get(label, "test") for label in labels], moved


def _usable(
    corpora: Sequence[Path],
    spec: SplitSpec,
    workers: int,
    dropped: dict[str, list[str]],
    progress: Callable[[str], None],
) -> Iterator[Kept]:
    seen: set[str] = set()
    facts = spread(identify, read_corpora(corpora), workers)
    for number, (sample, found) in enumerate(zip(read_corpora(corpora), facts, strict=True), start=1):
        reason = found if isinstance(found, str) else _reason_to_drop(found, spec, seen)
        if reason or isinstance(found, str):
            dropped.setdefault(reason, []).append(sample.id)
        else:
            seen.add(found.digest)
            concept = sample.tags[0] if sample.tags else ""
            yield Kept(sample.id, found.digest, found.render_hash, sample.source or "", concept)
        if number % _SAMPLES_PER_NOTE == 0:
            progress(f"{number:,} samples")


def _reason_to_drop(facts: Facts, spec: SplitSpec, seen: set[str]) -> str:
    if spec.max_canonical_chars is not None and len(facts.canonical) > spec.max_canonical_chars:
        return f"canonical text over {spec.max_canonical_chars} characters"
    return "the same drawing again" if spec.drop_duplicates and facts.digest in seen else ""


def _require_sources(spec: SplitSpec, kept: Sequence[Kept]) -> None:
    sources = {sample.source for sample in kept}
    for pattern in spec.held_out_sources:
        if not any(fnmatchcase(source, pattern) for source in sources):
            known = ", ".join(sorted(filter(None, sources))) or "none is stated"
            raise ConfigError(
                f"there is no source '{pattern}' to hold out. The sources of this corpus: {known}."
            )


def _held_out(sample: Kept, spec: SplitSpec) -> str:
    for pattern in spec.held_out_sources:
        if fnmatchcase(sample.source, pattern):
            return f"source {pattern}"
    if sample.concept and _lot(f"concept {sample.concept}", spec.seed) < spec.held_out_concepts:
        return "concept"
    return ""


def _chosen(key: str, spec: SplitSpec) -> Split:
    lot = _lot(key, spec.seed)
    train, validation, _ = spec.shares
    return "train" if lot < train else "validation" if lot < train + validation else "test"


def _lot(text: str, seed: int) -> float:
    """A number from 0 to 1 that follows from text and seed alone."""
    return int.from_bytes(hashlib.sha256(f"{seed} {text}".encode()).digest()[:8], "big") / 2**64


def _write(
    corpora: Sequence[Path], out: Path, split: Split, kept: Sequence[Kept], splits: Sequence[Split]
) -> dict[str, int | str]:
    """The samples of one split in the order of the corpus, which is read once more."""
    digests = {sample.id: sample.digest for sample, its in zip(kept, splits, strict=True) if its == split}
    path = out / f"{split}.jsonl"
    number = write_corpus(path, (sample for sample in read_corpora(corpora) if sample.id in digests))
    fingerprint = corpus_fingerprint(path)
    pairs = ((sample, digests[sample.id]) for sample in read_corpus(path))
    write_manifest(out, manifest_of(split, fingerprint, pairs))
    return {"samples": number, "fingerprint": fingerprint}


def _names(corpora: Sequence[Path]) -> str:
    return ", ".join(map(str, corpora))


def _counts(dropped: dict[str, list[str]]) -> dict[str, int]:
    return {reason: len(ids) for reason, ids in sorted(dropped.items())}
