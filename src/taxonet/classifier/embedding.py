"""Embeddings of any number of photos into a Parquet file, one batch in memory at a time."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from taxonet.classifier.classifier import ScoredBatch, TaxonClassifier
from taxonet.data.finding import count_images, find_images
from taxonet.devices import pick_workers
from taxonet.errors import ConfigError
from taxonet.files import atomic_file, readable_path
from taxonet.progress import Progress
from taxonet.recipes.verbs import EmbedConfig


def embed_to_file(config: EmbedConfig, *, show_progress: bool = False) -> tuple[int, int]:
    """Write ``image``, ``embedding`` and ``error`` for each photo, in order.

    Photos are called as in `predict_to_file`.

    Returns:
        The number of photos, and how many of them were unreadable (their embedding is null).

    Raises:
        ConfigError: The output exists or is no Parquet file.
        CheckpointError: The classifier's folder is incomplete or changed.
    """
    if config.out.suffix.lower() != ".parquet":
        raise ConfigError(f"Embeddings are written as .parquet, got --out {config.out}.")
    if config.out.exists():
        raise ConfigError(f"{config.out} exists already. Remove it or choose another --out.")
    classifier = TaxonClassifier.load(config.classifier, device=config.device)
    schema = pa.schema(
        [
            ("image", pa.string()),
            # Not lists of a fixed size: pyarrow up to 25 cannot read nulls among those.
            ("embedding", pa.list_(pa.float32())),
            ("error", pa.string()),
        ]
    )
    photos = ((readable_path(photo), Path(photo)) for photo in find_images(config.images))
    workers = pick_workers(config.workers, count_images(config.images))
    images = unreadable = 0
    with (
        atomic_file(config.out) as path,
        pq.ParquetWriter(path, schema) as writer,
        Progress("embedding photos", None, shown=show_progress) as progress,
    ):
        for batch in classifier.score(photos, batch_size=config.batch_size, workers=workers):
            writer.write_table(_rows(batch, schema))
            images += len(batch.names)
            unreadable += len(batch.broken)
            progress.advance(len(batch.names))
    return images, unreadable


def _rows(batch: ScoredBatch, schema: pa.Schema) -> pa.Table:
    vectors = iter(batch.embedding.numpy())
    places = range(len(batch.names))
    return pa.table(
        {
            "image": batch.names,
            "embedding": [None if place in batch.broken else next(vectors) for place in places],
            "error": [batch.broken.get(place) for place in places],
        },
        schema=schema,
    )
