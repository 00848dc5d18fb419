"""Equal and nearly equal drawings: which samples show the same picture, however they are written.

Two samples belong together when their canonical texts are equal or their pictures are near each other
(`render_hash`), and also when a third one links them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from training.corpora.render_hash import NEAR_SHAPE, SHAPE_BITS, are_near

K = TypeVar("K")

_BANDS = NEAR_SHAPE + 1  # with so many parts, two near hashes are equal in one of them at least


class NearIndex(Generic[K]):
    """Finds the pictures that are near a picture, among those that were added.

    Exact, by the pigeonhole principle (Norouzi et al., 2012, "Fast search in Hamming space with
    multi-index hashing"): only hashes that share a part with the one looked for are compared.
    """

    def __init__(self) -> None:
        self._by_band: list[defaultdict[int, list[int]]] = [defaultdict(list) for _ in range(_BANDS)]
        self._keys: defaultdict[int, list[K]] = defaultdict(list)  # by render hash

    def add(self, render_hash: int, key: K) -> None:
        if render_hash not in self._keys:
            for band, part in zip(self._by_band, _parts(render_hash), strict=True):
                band[part].append(render_hash)
        self._keys[render_hash].append(key)

    def near(self, render_hash: int) -> Iterator[K]:
        """The keys of all pictures at that hash or near it."""
        for found in self._near_hashes(render_hash):
            yield from self._keys[found]

    def _near_hashes(self, render_hash: int) -> set[int]:
        found: set[int] = set()
        for band, part in zip(self._by_band, _parts(render_hash), strict=True):
            found.update(other for other in band.get(part, ()) if are_near(other, render_hash))
        return found


def _parts(render_hash: int) -> Iterator[int]:
    for band in range(_BANDS):
        start, end = band * SHAPE_BITS // _BANDS, (band + 1) * SHAPE_BITS // _BANDS
        yield (render_hash >> start) & ((1 << (end - start)) - 1)


def clusters(digests: Sequence[str], render_hashes: Sequence[int]) -> list[int]:
    """For each sample the number of the first one of its cluster.

    A cluster is what equal canonical texts and near pictures link, over several steps if need be.
    """
    first = list(range(len(digests)))

    def root(sample: int) -> int:
        while first[sample] != sample:
            first[sample] = first[first[sample]]
            sample = first[sample]
        return sample

    index: NearIndex[int] = NearIndex()
    by_digest: dict[str, int] = {}
    for sample, (digest, render_hash) in enumerate(zip(digests, render_hashes, strict=True)):
        twin = by_digest.setdefault(digest, sample)
        linked = [twin] if twin != sample else index.near(render_hash)
        for other in linked:
            one, two = sorted((root(other), root(sample)))
            first[two] = one
        if twin == sample:
            index.add(render_hash, sample)
    return [root(sample) for sample in range(len(first))]


def groups(labels: Iterable[int]) -> list[list[int]]:
    """The numbers of the samples with the same label, where there are several of them."""
    members: defaultdict[int, list[int]] = defaultdict(list)
    for sample, label in enumerate(labels):
        members[label].append(sample)
    return [group for group in members.values() if len(group) > 1]
