"""A classifier whose batch norm layers have the statistics of the photos that it is judged on."""

from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor

from taxonet.classifier import TaxonClassifier
from taxonet.data.crops import crops_of, spec_to_crop
from taxonet.data.loading import stream_batches
from taxonet.data.table import ImageTable
from taxonet.data.transforms import plain
from taxonet.evaluation.drawing import drawn_rows
from taxonet.inference import adapt_batch_norm
from taxonet.progress import Progress

# Whatever the device: the variance of a smaller batch says less of that of all photos.
_BATCH_SIZE = 64


def adapt_to_photos(
    classifier: TaxonClassifier,
    table: ImageTable,
    *,
    batch_size: int | None = None,
    workers: int = 0,
    shown: bool = False,
) -> TaxonClassifier:
    """Return the classifier with statistics gathered in one pass over photos, without labels.

    Temperature and thresholds stay as calibration photos set them for the classifier as it was.
    The photos are read in a random order, the same however the table is sorted: photos of one
    taxon often stand together, and a batch of them shows nothing of the spread over all.

    Args:
        classifier: What is to be judged; it is not changed.
        table: All photos, also of taxa that the classifier lacks.
        batch_size: Photos per forward pass, whose statistics are averaged; None: 64.
        workers: Reading processes.
        shown: Show progress.

    Raises:
        ConfigError: The network has no batch norm layer.
        DataError: No batch has two photos that can be read.
    """
    preprocessing = classifier.parts.preprocessing
    size, crops = preprocessing.image_size, preprocessing.test_crops
    resize = spec_to_crop(preprocessing.resize, crops=crops)
    rows = drawn_rows(table, "batch norm").tolist()

    def batches(progress: Progress) -> Iterator[Tensor]:
        stream = stream_batches(
            (table.source(row) for row in rows),
            plain(resize),
            batch_size=_BATCH_SIZE if batch_size is None else batch_size,
            workers=workers,
        )
        for given, batch in stream:
            images = batch.images.to(classifier.device)
            yield from crops_of(images, size=size, crops=crops)
            progress.advance(len(given))

    with Progress("gathering statistics", len(rows), shown=shown) as progress:
        network = adapt_batch_norm(classifier.network, batches(progress))
    parts = replace(classifier.parts, network=network)
    return TaxonClassifier(parts, device=str(classifier.device))
