"""The samples that manifests name, found in a corpus again, and proof that they are the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from captioning.corpus import Sample, corpus_fingerprint, write_corpus
from captioning.errors import ConfigError
from training.corpora.examine import canonical_digest
from training.corpora.inputs import appearing_together, read_corpora, require_kept
from training.corpora.manifests import (
    Manifest,
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
    manifest_paths: Sequence[Path],
    out: Path | None,
    *,
    workers: int = 2,
    progress: Callable[[str], None] = lambda message: None,
) -> list[Rebuilt]:
    """Verify the samples of manifests, and write them to `out` if all of them are as all manifests say.

    Raises:
        ConfigError: two manifests are of one split, or a split would replace a corpus.
        CorpusError: a file cannot be read, or an id is in two of the corpora.
    """
    manifests = {(manifest := read_manifest(path)).split: manifest for path in manifest_paths}
    if len(manifests) < len(manifest_paths):
        raise ConfigError(f"two manifests are of one split: name one each of {', '.join(manifests)}.")
    if out is not None:
        require_kept(corpora, out, manifests)
    wanted = {name for manifest in manifests.values() for name in manifest.samples}
    found = {sample.id: sample for sample in read_corpora(corpora) if sample.id in wanted}
    progress(f"{len(found):,} of {len(wanted):,} samples found")
    digests = spread(canonical_digest, found.values(), workers)
    hashes = {
        name: (canonical_hash(digest) if digest else _REFUSED, references_hash(sample))
        for (name, sample), digest in zip(found.items(), digests, strict=True)
    }
    verified = [_verified(manifest, hashes) for manifest in manifests.values()]
    if out is None or not all(each.is_complete for each in verified):
        return verified
    with appearing_together(out) as folder:
        identical = [_write(folder, manifest, found) for manifest in manifests.values()]
    return [
        replace(each, is_identical=same, file=str(out / f"{each.split}.jsonl"))
        for each, same in zip(verified, identical, strict=True)
    ]


def _verified(manifest: Manifest, hashes: Mapping[str, tuple[str, str]]) -> Rebuilt:
    wrong = differences(manifest.samples, hashes)
    number = len(manifest.samples) - len(wrong["missing"])
    return Rebuilt(manifest.split, number, not any(wrong.values()), None, None, wrong)


def _write(folder: Path, manifest: Manifest, found: Mapping[str, Sample]) -> bool:
    """Whether the file is the manifest's, byte for byte."""
    path = folder / f"{manifest.split}.jsonl"
    write_corpus(path, (found[name] for name in manifest.samples))
    fingerprint = corpus_fingerprint(path)
    write_manifest(folder, manifest.model_copy(update={"fingerprint": fingerprint}))
    return fingerprint == manifest.fingerprint
