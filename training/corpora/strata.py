"""How a corpus is made up: samples counted by length, content and origin, as a stream."""

from __future__ import annotations

import statistics
from array import array
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from captioning.corpus import Sample
from training.corpora.examine import Facts
from training.corpora.leaks import EXTENTS, Extent

QUANTITIES: dict[str, tuple[int, ...]] = {
    "elements": (1, 2, 3, 5, 10, 20, 50),
    "path commands": (1, 10, 20, 50, 100, 200),
    "canonical characters": (1, 200, 500, 1_000, 1_500, 3_000),
    "tokens": (1, 128, 256, 512, 1_024, 2_048, 4_096),
    "colours": (1, 2, 3, 5, 9),
    "references": (1, 2, 3, 5, 9),
    "caption words": (1, 3, 6, 11, 21, 51),
}
"""Where each stratum of a quantity begins; below the first one there is a stratum of zeros."""

ORIGINS = ("source", "license", "caption author")
_NOT_STATED = "not stated"


@dataclass
class Quantity:
    """One number per sample (of caption words: per reference), counted by strata."""

    begins: tuple[int, ...]
    values: array[int] = field(default_factory=lambda: array("q"))

    def summary(self) -> dict[str, Any]:
        ordered = sorted(self.values)
        if not ordered:
            return {"count": 0, "strata": {}}
        strata = Counter(bisect_right(self.begins, value) for value in ordered)
        return {
            "count": len(ordered),
            "min": ordered[0],
            "median": statistics.median(ordered),
            "mean": round(statistics.fmean(ordered), 2),
            "p90": ordered[(len(ordered) - 1) * 9 // 10],
            "max": ordered[-1],
            "strata": {self._name(index): strata[index] for index in sorted(strata)},
        }

    def _name(self, index: int) -> str:
        if index == 0:
            return f"under {self.begins[0]}" if self.begins[0] > 1 else "0"
        if index == len(self.begins):
            return f"{self.begins[-1]:,} and more"
        first, last = self.begins[index - 1], self.begins[index] - 1
        return f"{first:,}" if first == last else f"{first:,} to {last:,}"


class Statistics:
    """Of the samples of one file or split."""

    def __init__(self) -> None:
        self.samples = 0
        self.unusable: Counter[str] = Counter()
        self.with_text = 0
        self._quantities = {name: Quantity(begins) for name, begins in QUANTITIES.items()}
        self._origins: dict[str, Counter[str]] = {name: Counter() for name in ORIGINS}
        self._leaks: defaultdict[str, Counter[Extent]] = defaultdict(Counter)
        self._canonical_leaks: defaultdict[str, Counter[Extent]] = defaultdict(Counter)

    def add(self, sample: Sample, facts: Facts | str, tokens: int | None) -> None:
        self.samples += 1
        origins = (sample.source, sample.license, sample.caption_author)
        for name, value in zip(ORIGINS, origins, strict=True):
            self._origins[name][value or _NOT_STATED] += 1
        self._add("references", len(sample.references))
        self._add("caption words", *(len(reference.split()) for reference in sample.references))
        if isinstance(facts, str):
            self.unusable[facts] += 1
        else:
            self._add_facts(facts, tokens)

    def _add_facts(self, facts: Facts, tokens: int | None) -> None:
        self.with_text += facts.has_text
        self._add("elements", facts.elements)
        self._add("path commands", facts.path_commands)
        self._add("canonical characters", len(facts.canonical))
        self._add("colours", facts.colours)
        if tokens is not None:
            self._add("tokens", tokens)
        for counts, leaks in ((self._leaks, facts.leaks), (self._canonical_leaks, facts.canonical_leaks)):
            for place, extent in leaks.items():
                counts[place][extent] += 1

    def _add(self, name: str, *values: int) -> None:
        self._quantities[name].values.extend(values)

    def summary(self) -> dict[str, Any]:
        usable = self.samples - self.unusable.total()
        quantities = {name: quantity.summary() for name, quantity in self._quantities.items()}
        return {
            "samples": self.samples,
            "unusable": dict(self.unusable.most_common()),
            "quantities": {name: found for name, found in quantities.items() if found["count"]},
            "has text": {"yes": self.with_text, "no": usable - self.with_text},
            **{name: dict(counts.most_common()) for name, counts in self._origins.items()},
            "leaks": _shares(self._leaks, usable),
            "canonical leaks": _shares(self._canonical_leaks, usable),
        }


def _shares(counts: dict[str, Counter[Extent]], samples: int) -> dict[str, dict[str, float]]:
    """Share of samples by place and extent; a whole caption is all of its words, and some of them, too."""
    return {place: _cumulative(counts[place], EXTENTS, samples) for place in sorted(counts)}


def _cumulative(counts: Counter[Extent], extents: Sequence[Extent], samples: int) -> dict[str, float]:
    so_far = [sum(counts[each] for each in extents[: index + 1]) for index in range(len(extents))]
    return {extent: round(number / samples, 6) for extent, number in zip(extents, so_far, strict=True)}
