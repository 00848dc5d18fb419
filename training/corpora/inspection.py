"""What is in a corpus: its strata, its duplicates within and across files, and what its files give away."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captioning.corpus import Sample, read_corpus
from rendering import CANONICALIZER_VERSION
from training.corpora.duplicates import clusters, groups
from training.corpora.examine import Facts, examine
from training.corpora.processes import spread
from training.corpora.render_hash import METHOD, RenderHash
from training.corpora.strata import Statistics

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BATCH = 200  # samples whose tokens are counted at a time
_MOST_GROUPS = 1_000  # of duplicates that are listed; all are counted


@dataclass(frozen=True)
class Seen:
    """A sample that was examined: all that is kept of it."""

    file: str
    id: str
    digest: str
    render_hash: RenderHash


@dataclass(frozen=True)
class Group:
    """Samples that show the same, or nearly the same, drawing."""

    kind: str  # "canonical": equal canonical texts; "render": pictures near each other
    across: bool  # over more than one file
    samples: tuple[tuple[str, str], ...]  # (file, id)


@dataclass(frozen=True)
class Inspection:
    """What was found; `drawn` are the samples to show, as (file, id)."""

    files: dict[str, dict[str, Any]]
    groups: list[Group]
    drawn: list[tuple[str, str]]
    tokenizer: str | None

    def summary(self) -> dict[str, Any]:
        listed = [
            {
                "kind": group.kind,
                "across": group.across,
                "samples": [list(sample) for sample in group.samples],
            }
            for group in self.groups[:_MOST_GROUPS]
        ]
        return {
            "canonicalizer_version": CANONICALIZER_VERSION,
            "tokenizer": self.tokenizer,
            "files": self.files,
            "duplicates": {
                "render_hash": METHOD,
                **{kind: self._count(kind) for kind in ("canonical", "render")},
                "groups": listed,
            },
        }

    def _count(self, kind: str) -> dict[str, int]:
        found = [group for group in self.groups if group.kind == kind]
        return {
            "groups": len(found),
            "samples": sum(len(group.samples) for group in found),
            "groups across files": sum(group.across for group in found),
        }


def inspect_corpus(
    files: dict[str, Path],
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    tokenizer_name: str | None = None,
    show: int = 0,
    seed: int = 0,
    workers: int = 2,
    progress: Callable[[str], None] = lambda message: None,
) -> Inspection:
    """Statistics of every file, duplicates over all of them, and `show` samples drawn by the seed.

    Raises:
        CorpusError: a file cannot be read.
    """
    statistics: dict[str, Statistics] = {name: Statistics() for name in files}
    seen: list[Seen] = []
    lots: list[tuple[bytes, str, str]] = []
    for name, path in files.items():
        for sample, facts, tokens in _examined(path, tokenizer, workers):
            statistics[name].add(sample, facts, tokens)
            lots.append((_lot(seed, sample.id), name, sample.id))
            if isinstance(facts, Facts):
                seen.append(Seen(name, sample.id, facts.digest, facts.render_hash))
            if statistics[name].samples % _BATCH == 0:
                lots = heapq.nsmallest(show, lots)
                progress(f"{name}: {statistics[name].samples:,} samples")
    progress("comparing pictures")
    drawn = [(name, sample_id) for _, name, sample_id in heapq.nsmallest(show, lots)]
    summaries = {name: found.summary() for name, found in statistics.items()}
    return Inspection(summaries, duplicate_groups(seen), drawn, tokenizer_name)


def duplicate_groups(seen: Sequence[Seen]) -> list[Group]:
    """Those across files first, then the large ones.

    Equal texts are a group also within a cluster of like pictures; a cluster of one text is told once.
    """
    digests = [sample.digest for sample in seen]
    first: dict[str, int] = {}
    equal = groups(first.setdefault(digest, index) for index, digest in enumerate(digests))
    alike = groups(clusters(digests, [sample.render_hash for sample in seen]))
    found = [_group("canonical", [seen[index] for index in members]) for members in equal]
    found += [
        _group("render", [seen[index] for index in members])
        for members in alike
        if len({digests[index] for index in members}) > 1
    ]
    return sorted(found, key=lambda group: (not group.across, -len(group.samples), group.samples))


def _group(kind: str, members: list[Seen]) -> Group:
    across = len({sample.file for sample in members}) > 1
    return Group(kind, across, tuple((sample.file, sample.id) for sample in members))


def _examined(
    path: Path, tokenizer: PreTrainedTokenizerBase | None, workers: int
) -> Iterator[tuple[Sample, Facts | str, int | None]]:
    """Each sample with its facts and the number of tokens of its canonical text."""
    pairs = zip(read_corpus(path), spread(examine, read_corpus(path), workers), strict=True)
    while batch := list(islice(pairs, _BATCH)):
        texts = [facts.canonical for _, facts in batch if isinstance(facts, Facts)]
        counts = iter(_token_counts(tokenizer, texts))
        for sample, facts in batch:
            yield sample, facts, next(counts) if tokenizer and isinstance(facts, Facts) else None


def _token_counts(tokenizer: PreTrainedTokenizerBase | None, texts: list[str]) -> list[int]:
    if not (tokenizer and texts):
        return []
    return [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]


def _lot(seed: int, sample_id: str) -> bytes:
    return hashlib.sha256(f"{seed}:{sample_id}".encode()).digest()
