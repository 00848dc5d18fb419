"""Captioners: whatever turns samples into candidate captions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from captioning.corpus import Sample
from evaluation.candidates import Candidate


class Captioner(Protocol):
    def caption(self, samples: Sequence[Sample]) -> Iterator[Candidate]:
        """One candidate per sample, in order. A sample that fails gets one that says why; the rest go on."""
        ...
