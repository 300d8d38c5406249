"""The store of embeddings: what is in it, what is missing, and the vectors of some photos."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from taxonet.data.features.contents import Contents
from taxonet.data.features.keys import PLAIN, pack_digests
from taxonet.data.features.shards import SHARD_ENTRIES
from taxonet.data.features.space import Space, has_space, read_space, require_space, write_space
from taxonet.data.features.writer import FeatureWriter, open_writer
from taxonet.errors import ConfigError, DataError

# A table's share of an entry and of a shard, besides the vectors.
_TABLE_BYTES_OF_ENTRY = 36
_BYTES_OF_SHARD = 1400


class FeatureStore:
    """Embeddings of one space in a folder, by the digest of the photo's bytes and the view.

    Its keys are in memory, about 40 bytes for each; vectors are read when they are asked for.
    Reading needs no lock. What another process adds after the store was opened is seen once this
    one writes, or opens the store again.

    Made by `open` or `read`.

    Args:
        folder: The store; it has its ``store.json``.
        space: Of the store.

    Examples:
        >>> import tempfile
        >>> space = Space("tiny", "ab12", {"image_size": 32}, embedding_size=2)
        >>> store = FeatureStore.open(Path(tempfile.mkdtemp()), space)
        >>> oak, ash = "0a" * 32, "0b" * 32
        >>> with store.writer() as writer:
        ...     writer.add([oak], PLAIN, np.array([[0.5, 2.0]], dtype=np.float32))
        >>> len(store), store.bytes_for(1_000_000) // 1_000_000
        (1, 46)
        >>> store.missing([ash, oak, ash])
        [0]
        >>> store.vectors([oak, oak]).tolist()
        [[0.5, 2.0], [0.5, 2.0]]
    """

    def __init__(self, folder: Path, space: Space) -> None:
        self.folder, self.space = folder, space
        self._contents = Contents(folder, embedding_size=space.embedding_size)
        self._contents.refresh()

    @classmethod
    def open(cls, folder: Path, space: Space) -> "FeatureStore":
        """Open the store of a space; where nothing is there, an empty one is made.

        Raises:
            ConfigError: The folder holds something else, or a store of another space or format;
                the message says what differs.
            DataError: A file of the store is damaged.
        """
        if not has_space(folder):
            _require_free(folder)
            write_space(folder, space)
        require_space(folder, space)
        return cls(folder, space)

    @classmethod
    def read(cls, folder: Path) -> "FeatureStore":
        """Open a store that is there, whatever its space.

        Raises:
            ConfigError: The folder is no store, or one of another format.
            DataError: A file of the store is damaged.
        """
        return cls(folder, read_space(folder))

    def __len__(self) -> int:
        """Return the number of embeddings, of all views."""
        return len(self._contents)

    def __contains__(self, key: tuple[str, str]) -> bool:
        """Return whether there is an embedding of a digest and view."""
        digest, view = key
        return bool(self._contents.places(pack_digests([digest]), view)[0] >= 0)

    def missing(self, digests: Sequence[str], view: str = PLAIN) -> list[int]:
        """Return which photos are neither stored under a view nor known to be broken.

        Args:
            digests: SHA-256 of each photo's bytes; a photo may occur several times.
            view: Key of the view.

        Returns:
            Positions, ascending; of equal photos the first.
        """
        absent = np.flatnonzero(self._contents.places(pack_digests(digests), view) < 0).tolist()
        firsts: dict[str, int] = {}
        for place in absent:
            if digests[place] not in self._contents.broken:
                firsts.setdefault(digests[place], place)
        return list(firsts.values())

    def vectors(self, digests: Sequence[str], view: str = PLAIN) -> NDArray[np.float32]:
        """Return the embeddings of some photos under a view, ``(n, d)``, in their order.

        Args:
            digests: SHA-256 of each photo's bytes; a photo may occur several times.
            view: Key of the view.

        Raises:
            DataError: One is not stored, or a file of the store is damaged.
        """
        try:
            return self._contents.gather(self._places(digests, view))
        except FileNotFoundError:  # another process filled up a shard, under a new number
            self._contents.refresh()
            return self._contents.gather(self._places(digests, view))

    def broken(self) -> Mapping[str, str]:
        """Return why the bytes of some photos cannot be used, by digest; it cannot be changed."""
        return MappingProxyType(self._contents.broken)

    def writer(self) -> AbstractContextManager[FeatureWriter]:
        """Give a writer within a ``with`` block, at whose end all that came is on the disk.

        That holds when the block ends with an error or a Ctrl-C too. A kill loses what came after
        the last full shard.

        Raises:
            ConfigError: Another process is writing, or has made the folder the store of another
                space.
            DataError: A file of the store is damaged.
        """
        require_space(self.folder, self.space)
        return open_writer(self._contents)

    def bytes_for(self, embeddings: int) -> int:
        """Return about how many bytes a number of embeddings take on the disk."""
        shards = -(-embeddings // SHARD_ENTRIES)
        size = 4 * self.space.embedding_size + _TABLE_BYTES_OF_ENTRY
        return embeddings * size + shards * _BYTES_OF_SHARD

    def _places(self, digests: Sequence[str], view: str) -> NDArray[np.int64]:
        places = self._contents.places(pack_digests(digests), view)
        absent = np.flatnonzero(places < 0)
        if len(absent):
            first = digests[int(absent[0])]
            reason = self._contents.broken.get(first)
            raise DataError(
                f"The store {self.folder} has no embedding under the view {view!r} for "
                f"{len(absent)} of {len(digests)} photos (first: SHA-256 {first}"
                + (f", broken: {reason}). " if reason else "). ")
                + "Add those that `missing` gives, and leave broken photos out."
            )
        return places


def _require_free(folder: Path) -> None:
    """Raise a ConfigError unless a store can be made in a folder.

    Another process may be making the same store in it at this moment: its file, or the temporary
    one, is nothing else.
    """
    if folder.is_dir():
        others = [path for path in folder.iterdir() if not path.name.startswith(".store.json.")]
        if not others or has_space(folder):
            return
    elif not folder.exists():
        return
    raise ConfigError(
        f"{folder} is there already, and is neither a store of embeddings nor an empty folder: "
        "choose another folder (--features)."
    )
