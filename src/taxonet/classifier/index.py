"""The index of a classifier's folder: the embeddings of the photos that it was trained on."""

from hashlib import sha256
from pathlib import Path
from shutil import copyfile
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from taxonet.data.decoding import StoredPhoto
from taxonet.data.table import ImageTable
from taxonet.errors import CheckpointError

_ROWS_AT_ONCE = 16_384

_NAMES = {"train": "training", "val": "validation", "calibration": "calibration"}


class StoredEmbeddings(NamedTuple):
    """Embeddings and classes of the readable training photos, in the order of the index."""

    embeddings: NDArray[np.float32]
    """Before normalisation, ``(N, d)``."""
    targets: NDArray[np.int64]
    """Class of each, ``(N,)``."""


def index_file(classifier: Path) -> Path:
    """Return where a classifier's folder has its index, if it has one."""
    return split_file(classifier, "train")


def split_file(classifier: Path, split: str) -> Path:
    """Return where a classifier's folder has the embeddings of a split, if it has them.

    That of the training photos is the index. Those of the splits ``val`` and ``calibration`` are
    there where training learned from stored features, so that it can go on without the photos.
    """
    return classifier / "index" / f"{_NAMES[split]}.parquet"


def copy_index(old: Path, new: Path) -> None:
    """Copy the embeddings of all splits from one classifier's folder to another's."""
    for split in _NAMES:
        if split_file(old, split).is_file():
            split_file(new, split).parent.mkdir(exist_ok=True)
            copyfile(split_file(old, split), split_file(new, split))


def trained_on(classifier: Path, table: ImageTable) -> NDArray[np.bool_] | None:
    """Say of each photo whether its very bytes were trained on; None where there is no index.

    Args:
        classifier: The classifier's folder.
        table: Photos; unreadable ones were not.
    """
    path = index_file(classifier)
    if not path.is_file():
        return None
    known = set(pq.read_table(path, columns=["sha256"])["sha256"].to_pylist())
    return np.array([_digest(table, row) in known for row in range(len(table))], dtype=bool)


def _digest(table: ImageTable, row: int) -> str | None:
    source = table.source(row)
    if isinstance(source, StoredPhoto):
        return source.sha256
    try:
        return sha256(table.read_bytes(row)).hexdigest()
    except OSError:
        return None


class TrainingIndex:
    """The index of a classifier, opened but not yet read.

    Args:
        classifier: The classifier's folder.
        wanted_by: What needs the embeddings, for the message where there are none.

    Raises:
        CheckpointError: The folder has no index.
    """

    def __init__(self, classifier: Path, *, wanted_by: str) -> None:
        path = index_file(classifier)
        if not path.is_file():
            raise CheckpointError(
                f"{path} is missing: {wanted_by} needs the embeddings of the training photos, "
                "which `taxonet train` writes there."
            )
        self._file = pq.ParquetFile(path)

    @property
    def images(self) -> int:
        """How many photos it holds, N."""
        return int(self._file.metadata.num_rows)

    @property
    def features(self) -> int:
        """How many numbers an embedding has, d."""
        return int(self._file.schema_arrow.field("embedding").type.list_size)

    def names(self) -> list[str]:
        """Read the names of all photos, in the order of the index."""
        return [
            str(name) for name in self._file.read(columns=["image"]).column("image").to_pylist()
        ]

    def read(self) -> StoredEmbeddings:
        """Read all embeddings, 4 N d bytes, a few rows at a time, so that there is no copy."""
        found = StoredEmbeddings(
            np.empty((self.images, self.features), dtype=np.float32),
            np.empty(self.images, dtype=np.int64),
        )
        start = 0
        columns = ["class", "embedding"]
        for batch in self._file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=columns):
            rows = slice(start, start + len(batch))
            values = batch.column("embedding").flatten().to_numpy()
            found.embeddings[rows] = values.reshape(len(batch), -1)
            found.targets[rows] = batch.column("class").to_numpy()
            start += len(batch)
        return found
