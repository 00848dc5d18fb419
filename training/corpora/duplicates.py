"""Equal and nearly equal drawings: which samples show the same picture, however they are written.

Two samples belong together when their canonical texts are equal or their pictures are near each other
(`render_hash`), and also when a third one links them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Generic, TypeVar

import numpy as np

from training.corpora.render_hash import NEAR_BLOCK, RenderHash, Values, are_near, blocks

K = TypeVar("K")
Place = tuple[int, ...]

_FIRST_ROOM = 8  # pictures


class NearIndex(Generic[K]):
    """Finds the pictures that are near a picture, among those that were added.

    Exact: near pictures differ by `NEAR_BLOCK` at most in the mean of any part that is made of blocks. So
    pictures are kept in buckets by the means of three halves, and only neighbouring buckets are compared.
    """

    def __init__(self) -> None:
        self._buckets: defaultdict[Place, _Bucket] = defaultdict(_Bucket)
        self._keys: defaultdict[RenderHash, list[K]] = defaultdict(list)

    def add(self, render_hash: RenderHash, key: K) -> None:
        if render_hash not in self._keys:
            self._buckets[_place(blocks(render_hash))].add(render_hash)
        self._keys[render_hash].append(key)

    def near(self, render_hash: RenderHash) -> Iterator[K]:
        """The keys of all pictures at that hash or near it."""
        block_values = blocks(render_hash)
        for step in product((-1, 0, 1), repeat=3):
            place = tuple(np.add(_place(block_values), step).tolist())
            if place in self._buckets:
                for candidate in self._buckets[place].candidates(block_values.ravel()):
                    if are_near(candidate, render_hash):
                        yield from self._keys[candidate]


class _Bucket:
    """Hashes, with their blocks in one growing array, so that all are compared at once."""

    def __init__(self) -> None:
        self._hashes: list[RenderHash] = []
        self._blocks: Values = np.empty((_FIRST_ROOM, 48), np.int16)

    def add(self, render_hash: RenderHash) -> None:
        if len(self._hashes) == len(self._blocks):
            self._blocks = np.concatenate([self._blocks, np.empty_like(self._blocks)])
        self._blocks[len(self._hashes)] = blocks(render_hash).ravel()
        self._hashes.append(render_hash)

    def candidates(self, block_values: Values) -> list[RenderHash]:
        differences = np.abs(self._blocks[: len(self._hashes)] - block_values).max(axis=1)
        return [self._hashes[index] for index in np.flatnonzero(differences <= NEAR_BLOCK)]


def _place(block_values: Values) -> Place:
    """The mean green of the upper, lower and left half, in steps that near pictures differ by one in."""
    green = block_values[..., 1]
    return tuple(int(half.mean() // (NEAR_BLOCK + 1)) for half in (green[:2], green[2:], green[:, :2]))


def clusters(digests: Sequence[str], render_hashes: Sequence[RenderHash]) -> list[int]:
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
