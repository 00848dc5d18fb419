"""The samples that a manifest names, found in a corpus again, and proof that they are the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from captioning.corpus import corpus_fingerprint, write_corpus
from training.corpora.examine import canonical_digest
from training.corpora.inputs import read_corpora
from training.corpora.manifests import (
    canonical_hash,
    differences,
    read_manifest,
    references_hash,
    write_manifest,
)
from training.corpora.processes import spread

_REFUSED = "refused"
_NAMED = 5  # ids in a message; --json has them all


@dataclass(frozen=True)
class Rebuilt:
    """What a manifest's verification found."""

    split: str
    samples: int
    is_complete: bool
    is_identical: bool | None  # byte for byte; None: it was not written
    file: str | None
    differences: dict[str, list[str]]  # ids by what is wrong with them

    def message(self) -> str:
        parts = [
            f"{len(ids):,} {what}: {', '.join(ids[:_NAMED])}{', ...' if len(ids) > _NAMED else ''}"
            for what, ids in self.differences.items()
            if ids
        ]
        return "; ".join(parts)


def rebuild(
    corpora: Sequence[Path],
    manifest_path: Path,
    out: Path | None,
    *,
    workers: int = 2,
    progress: Callable[[str], None] = lambda message: None,
) -> Rebuilt:
    """Verify the manifest's samples, and write them to `out` if all of them are as it says.

    Raises:
        CorpusError: a file cannot be read, or an id is in two of the corpora.
    """
    manifest = read_manifest(manifest_path)
    found = {sample.id: sample for sample in read_corpora(corpora) if sample.id in manifest.samples}
    progress(f"{manifest.split}: {len(found):,} of {len(manifest.samples):,} samples found")
    digests = spread(canonical_digest, found.values(), workers)
    hashes = {
        name: (canonical_hash(digest) if digest else _REFUSED, references_hash(sample))
        for (name, sample), digest in zip(found.items(), digests, strict=True)
    }
    wrong = differences(manifest.samples, hashes)
    is_complete = not any(wrong.values())
    if out is None or not is_complete:
        return Rebuilt(manifest.split, len(found), is_complete, None, None, wrong)
    path = out / f"{manifest.split}.jsonl"
    write_corpus(path, (found[name] for name in manifest.samples))
    fingerprint = corpus_fingerprint(path)
    write_manifest(out, manifest.model_copy(update={"fingerprint": fingerprint}))
    is_identical = fingerprint == manifest.fingerprint
    return Rebuilt(manifest.split, len(found), True, is_identical, str(path), wrong)
