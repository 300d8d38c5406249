"""The index of a classifier: embeddings and identities of the photos it was trained on.

It answers "was this photo in the training set?" and serves neighbours in the embedding space.
"""

from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from taxonet.classifier import TaxonClassifier
from taxonet.files import atomic_file
from taxonet.progress import Progress
from taxonet.training.data import TrainingData
from taxonet.training.photos import named_photos


def write_index(
    folder: Path,
    classifier: TaxonClassifier,
    data: TrainingData,
    *,
    workers: int = 0,
    shown: bool = False,
) -> None:
    """Write ``index/training.parquet``: image, class, SHA-256, embedding; readable photos only.

    Args:
        folder: The classifier's folder.
        classifier: Computes the embeddings.
        data: Photos and splits; the split ``train`` is indexed.
        workers: Reading processes.
        shown: Show progress.
    """
    table, targets = data.split("train")
    size = classifier.network.head.embedding_size
    schema = pa.schema(
        [
            ("image", pa.string()),
            ("class", pa.int32()),
            ("sha256", pa.string()),
            ("embedding", pa.list_(pa.float32(), size)),
        ]
    )
    row = 0
    with (
        atomic_file(folder / "index" / "training.parquet") as path,
        pq.ParquetWriter(path, schema) as writer,
        Progress("indexing", len(table), shown=shown) as progress,
    ):
        for batch in classifier.score(named_photos(table), workers=workers):
            rows = [row + place for place in range(len(batch.names)) if place not in batch.broken]
            row += len(batch.names)
            writer.write_table(
                pa.table(
                    {
                        "image": batch.readable,
                        "class": targets[rows].tolist(),
                        "sha256": [sha256(table.read_bytes(index)).hexdigest() for index in rows],
                        "embedding": list(batch.embedding.numpy()),
                    },
                    schema=schema,
                )
            )
            progress.advance(len(batch.names))
