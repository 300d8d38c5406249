"""The index of a classifier: embeddings and identities of the photos it was trained on.

It answers "was this photo in the training set?" and serves neighbours in the embedding space.
"""

from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from taxonet.classifier import TaxonClassifier, split_file
from taxonet.data.decoding import StoredPhoto
from taxonet.data.table import ImageTable
from taxonet.files import atomic_file
from taxonet.progress import Progress
from taxonet.training.data import TrainingData
from taxonet.training.photos import named_photos


def write_index(
    folder: Path,
    classifier: TaxonClassifier,
    data: TrainingData,
    *,
    splits: tuple[str, ...] = ("train",),
    workers: int = 0,
    shown: bool = False,
) -> None:
    """Write a table for each split: image, class, SHA-256, embedding; readable photos only.

    Args:
        folder: The classifier's folder; the tables lie in its folder ``index``.
        classifier: Computes the embeddings.
        data: Photos and splits.
        splits: What is indexed; the index of the training photos is that of ``train``.
        workers: Reading processes.
        shown: Show progress.
    """
    for split in splits:
        table, targets = data.split(split)
        if split == "train" or len(table):
            path = split_file(folder, split)
            _write(path, classifier, table, targets.tolist(), workers=workers, shown=shown)


def _write(
    file: Path,
    classifier: TaxonClassifier,
    table: ImageTable,
    targets: list[int],
    *,
    workers: int,
    shown: bool,
) -> None:
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
        atomic_file(file) as path,
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
                        "class": [targets[one] for one in rows],
                        "sha256": [_digest(table, one) for one in rows],
                        "embedding": list(batch.embedding.numpy()),
                    },
                    schema=schema,
                )
            )
            progress.advance(len(batch.names))


def _digest(table: ImageTable, row: int) -> str:
    source = table.source(row)
    if isinstance(source, StoredPhoto):
        return source.sha256
    return sha256(table.read_bytes(row)).hexdigest()
