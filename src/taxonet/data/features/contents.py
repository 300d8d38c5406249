"""What a store holds: all keys, in memory, and the vectors, in files."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from taxonet.data.features.index import KeyIndex
from taxonet.data.features.keys import Digests
from taxonet.data.features.shards import (
    SHARD_ENTRIES,
    Shard,
    open_vectors,
    read_shard,
    shard_numbers,
)


class Contents:
    """The keys of a store and where their vectors are; reader and writer share it.

    A place is ``shard number * SHARD_ENTRIES + row``. Shard numbers only grow, so that the later of
    two entries of one key has the larger place, and a place never means something else.

    Args:
        folder: The store.
        embedding_size: Number of dimensions, d.

    Attributes:
        broken: Reasons of broken photos, by digest.
    """

    def __init__(self, folder: Path, *, embedding_size: int) -> None:
        self.folder, self.embedding_size = folder, embedding_size
        self.broken: dict[str, str] = {}
        self._views: dict[str, KeyIndex] = {}
        self._entries_of_shard: dict[int, int] = {}

    def __len__(self) -> int:
        return sum(map(len, self._views.values()))

    @property
    def next_number(self) -> int:
        """The number of the next shard."""
        return max(self._entries_of_shard, default=-1) + 1

    def shards_with_room(self) -> list[int]:
        """Return the numbers of the shards that are not full, latest first."""
        known = self._entries_of_shard
        return [number for number in sorted(known, reverse=True) if known[number] < SHARD_ENTRIES]

    def entries(self, number: int) -> int:
        """Return the number of entries of a shard."""
        return self._entries_of_shard[number]

    def refresh(self) -> None:
        """Take in the shards that are new in the folder, and forget those that are gone."""
        there = shard_numbers(self.folder)
        known = self._entries_of_shard.keys()
        try:
            self.add(read_shard(self.folder, number) for number in sorted(there - known))
        except FileNotFoundError:  # filled up by a writer since, under a new number
            self.refresh()
        else:
            for number in known - there:
                self.forget(number)

    def add(self, shards: Iterable[Shard]) -> None:
        """Take in shards, in ascending order of their numbers."""
        found: dict[str, list[tuple[Digests, NDArray[np.int64]]]] = {}
        for shard in list(shards):
            for view, (digests, rows) in shard.views.items():
                found.setdefault(view, []).append((digests, shard.number * SHARD_ENTRIES + rows))
            self.broken.update(shard.broken)
            self._entries_of_shard[shard.number] = shard.entries
        # All at once: sorting every shard into the index by itself would take much longer.
        for view, parts in found.items():
            digests, places = (np.concatenate(part) for part in zip(*parts, strict=True))
            self._views.setdefault(view, KeyIndex()).add(digests, places)

    def forget(self, number: int) -> None:
        """Leave out a shard, and the entries that no later one supersedes."""
        del self._entries_of_shard[number]
        start = number * SHARD_ENTRIES
        for index in self._views.values():
            index.forget(start, start + SHARD_ENTRIES)

    def places(self, digests: Digests, view: str) -> NDArray[np.int64]:
        """Return where the embeddings of some digests are, ``(n,)``; -1 for those not stored."""
        index = self._views.get(view)
        return np.full(len(digests), -1, dtype=np.int64) if index is None else index.find(digests)

    def gather(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read the vectors ``(n, d)`` at some places, opening each shard once.

        Raises:
            FileNotFoundError: A shard was filled up by a writer since, under a new number.
            DataError: A file is damaged.
        """
        vectors = np.empty((len(places), self.embedding_size), dtype=np.float32)
        numbers, rows = np.divmod(places, SHARD_ENTRIES)
        order = np.argsort(places, kind="stable")
        for members in np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1):
            if len(members):
                # Opened anew each time: thousands of open maps are more files than systems allow.
                number = int(numbers[members[0]])
                shard = open_vectors(self.folder, number, embedding_size=self.embedding_size)
                vectors[members] = shard[rows[members]]
        return vectors
