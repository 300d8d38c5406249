"""The index of a classifier's folder: the embeddings of the photos that it was trained on."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from taxonet.errors import CheckpointError

_ROWS_AT_ONCE = 16_384


class StoredEmbeddings(NamedTuple):
    """Embeddings and classes of the readable training photos, in the order of the index."""

    embeddings: NDArray[np.float32]
    """Before normalisation, ``(N, d)``."""
    targets: NDArray[np.int64]
    """Class of each, ``(N,)``."""


def index_file(classifier: Path) -> Path:
    """Return where a classifier's folder has its index, if it has one."""
    return classifier / "index" / "training.parquet"


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
