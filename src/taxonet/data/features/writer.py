"""Writing to a store: full shards as they come, the rest at the end."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from taxonet.data.features.contents import Contents
from taxonet.data.features.keys import pack_digests
from taxonet.data.features.shards import (
    SHARD_ENTRIES,
    EntryKey,
    Vector,
    read_entries,
    remove_remains,
    remove_shard,
    write_shard,
)
from taxonet.errors import ConfigError, DataError

_LOCK_FILE = "writer.lock"


class FeatureWriter:
    """Takes embeddings and reasons, and writes a shard whenever 512 of them have come.

    Made by `FeatureStore.writer`, which holds the store's lock and closes the writer. Keys that the
    store has already are passed over, so that nothing is stored twice.

    A last shard that is not full is filled up: its entries are written again together with the
    new ones, under a new number, and the old files are removed after that. Thus many small
    additions do not leave many small shards.

    Args:
        contents: What the store holds; it learns of each shard that is written.
    """

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._pending: dict[EntryKey, Vector | str] = {}
        self._absorbed: list[int] = []
        self._next_number = contents.next_number

    def add(self, digests: Sequence[str], view: str, vectors: NDArray[np.float32]) -> None:
        """Store the embeddings of some photos under a view.

        Args:
            digests: SHA-256 of each photo's bytes.
            view: Key of the view; `PLAIN` for what prediction sees.
            vectors: Embeddings, ``(n, d)`` float32, finite; they are copied.

        Raises:
            DataError: The array has another shape or dtype, or a vector is not finite. None of the
                batch is stored then.
        """
        packed = pack_digests(digests)
        self._require_vectors(digests, vectors)
        new = np.flatnonzero(self._contents.places(packed, view) < 0).tolist()
        for place in new:
            self._take((bytes.fromhex(digests[place]), view), vectors[place].copy())

    def add_broken(self, digest: str, reason: str) -> None:
        """Record why the bytes of a photo cannot be used, so that nobody tries again.

        Args:
            digest: SHA-256 of the photo's bytes.
            reason: Why, in a few words.
        """
        pack_digests([digest])
        if digest not in self._contents.broken:
            self._take((bytes.fromhex(digest), None), reason)

    def close(self) -> None:
        """Write what is left."""
        if self._pending:
            self._write_shard()

    def _take(self, key: EntryKey, value: Vector | str) -> None:
        if not self._pending:
            self._absorb()
        self._pending.setdefault(key, value)
        if len(self._pending) >= SHARD_ENTRIES:
            self._write_shard()

    def _absorb(self) -> None:
        """Put the entries of shards with room first, as many as the next shard can take."""
        for number in self._contents.shards_with_room():
            if len(self._pending) + self._contents.entries(number) < SHARD_ENTRIES:
                size = self._contents.embedding_size
                entries = read_entries(self._contents.folder, number, embedding_size=size)
                for key, value in entries.items():
                    self._pending.setdefault(key, value)
                self._absorbed.append(number)

    def _write_shard(self) -> None:
        chosen = dict(islice(self._pending.items(), SHARD_ENTRIES))
        # Counted before the work, so that after an interrupt no shard is written over.
        number, self._next_number = self._next_number, self._next_number + 1
        size = self._contents.embedding_size
        shard = write_shard(self._contents.folder, number, chosen, embedding_size=size)
        self._contents.add([shard])
        for key in chosen:
            del self._pending[key]
        # All of these entries came first, so they are in the new shard.
        while self._absorbed:
            remove_shard(self._contents.folder, self._absorbed[-1])
            self._contents.forget(self._absorbed.pop())

    def _require_vectors(self, digests: Sequence[str], vectors: NDArray[np.float32]) -> None:
        expected = (len(digests), self._contents.embedding_size)
        if vectors.shape != expected or vectors.dtype != np.float32:
            raise DataError(
                f"The store takes float32 embeddings of shape {expected} for these "
                f"{len(digests)} photos, got {vectors.dtype} of shape {vectors.shape}."
            )
        finite = np.isfinite(vectors).all(axis=1)
        if not finite.all():
            raise DataError(
                f"The embeddings of {int((~finite).sum())} photos are not finite (first: that of "
                f"the photo with the SHA-256 {digests[int(np.argmin(finite))]}). Record such "
                "photos as broken."
            )


@contextmanager
def open_writer(contents: Contents) -> Iterator[FeatureWriter]:
    """Give the one writer of a store; see `FeatureStore.writer`.

    Raises:
        ConfigError: Another process, or another writer of this one, is writing.
    """
    # The system lets go of the lock when a process ends in any way, so none is ever stale.
    lock = FileLock(contents.folder / _LOCK_FILE, blocking=False, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise ConfigError(
            f"Another process is adding embeddings to the store {contents.folder}: wait until it "
            "has ended and start again, or choose another folder (--features)."
        ) from None
    try:
        remove_remains(contents.folder)
        contents.refresh()
        writer = FeatureWriter(contents)
        try:
            yield writer
        finally:
            writer.close()
    finally:
        lock.release()
