"""A split's manifest: small enough to publish, and enough to find the same samples again and to prove it.

It has no drawings and no captions, only ids and hashes, so it can be shared where the data cannot.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from captioning.corpus import Sample
from captioning.errors import CorpusError
from rendering import CANONICALIZER_VERSION

SUFFIX = ".manifest.json"
_FORMAT = 1
_HEX_OF_CANONICAL = 32  # of a SHA-256: 128 bits
_HEX_OF_REFERENCES = 16


class Manifest(BaseModel):
    """Which samples a split has, in order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Annotated[int, Field(ge=_FORMAT, le=_FORMAT)] = _FORMAT
    split: Annotated[str, Field(pattern=r"^[\w-]+$")]
    canonicalizer_version: str
    fingerprint: str  # of the split's own file: equal when every byte of it is
    samples: dict[str, tuple[str, str]]  # id -> hashes of the canonical text and of the references


def references_hash(sample: Sample) -> str:
    return hashlib.sha256("\n".join(sample.references).encode()).hexdigest()[:_HEX_OF_REFERENCES]


def canonical_hash(digest: str) -> str:
    """A manifest's short form of the SHA-256 of a canonical text."""
    return digest[:_HEX_OF_CANONICAL]


def manifest_of(split: str, fingerprint: str, samples: Iterable[tuple[Sample, str]]) -> Manifest:
    """Of samples with the digests of their canonical texts."""
    hashes = {sample.id: (canonical_hash(digest), references_hash(sample)) for sample, digest in samples}
    return Manifest(
        split=split, canonicalizer_version=CANONICALIZER_VERSION, fingerprint=fingerprint, samples=hashes
    )


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """As `<split>.manifest.json`, one sample per line."""
    path = folder / f"{manifest.split}{SUFFIX}"
    head = json.dumps(manifest.model_dump(exclude={"samples"}), indent=2).removesuffix("\n}")
    rows = (f"    {json.dumps(name)}: {json.dumps(hashes)}" for name, hashes in manifest.samples.items())
    text = f'{head},\n  "samples": {{\n' + ",\n".join(rows) + "\n  }\n}\n"
    path.write_text(text, encoding="utf-8")
    return path


def read_manifest(path: Path) -> Manifest:
    """Raises CorpusError for a file that is no manifest, or one that cannot be verified by this version."""
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CorpusError(f"{path}: the manifest cannot be read: {error.strerror}") from None
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise CorpusError(f"{path}: not a manifest of a split: {where}: {problem['msg']}") from None
    if manifest.canonicalizer_version != CANONICALIZER_VERSION:
        raise CorpusError(
            f"{path}: its canonical texts are of version {manifest.canonicalizer_version}, here they are of "
            f"version {CANONICALIZER_VERSION}: nothing can be compared. Use the release that wrote it."
        )
    return manifest


def differences(
    expected: Mapping[str, tuple[str, str]], found: Mapping[str, tuple[str, str]]
) -> dict[str, list[str]]:
    """The ids that are missing, or whose drawing or references are others than the manifest says."""
    present = [name for name in expected if name in found]
    return {
        "missing": [name for name in expected if name not in found],
        "changed drawing": [name for name in present if found[name][0] != expected[name][0]],
        "changed references": [name for name in present if found[name][1] != expected[name][1]],
    }
