"""The split that a run is about."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from captioning.corpus import Sample, read_corpus
from captioning.errors import CorpusError


def read_split(corpus: Path, limit: int | None = None) -> list[Sample]:
    """The corpus, or its first `limit` samples.

    Raises:
        CorpusError: it cannot be read or is empty.
    """
    samples = list(islice(read_corpus(corpus), limit))
    if not samples:
        raise CorpusError(f"{corpus}: there is no sample in it")
    return samples
