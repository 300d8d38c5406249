"""Embeddings of any number of photos: into a Parquet file, or into a feature store."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from taxonet.classifier.classifier import TaxonClassifier
from taxonet.classifier.embedder import Embedder
from taxonet.classifier.feature_batches import feature_batches
from taxonet.classifier.folder import load_parts
from taxonet.classifier.model_input import (
    check_image_size,
    preprocessing_of,
    with_input_of_weights,
)
from taxonet.classifier.settings import Preprocessing
from taxonet.data.finding import count_images, find_images
from taxonet.data.transforms import plain
from taxonet.devices import pick_batch_size, pick_device, pick_workers
from taxonet.errors import ConfigError
from taxonet.files import atomic_file, readable_path
from taxonet.models import Network, build_network, find_row
from taxonet.progress import Progress
from taxonet.recipes import ModelRecipe
from taxonet.recipes.verbs import EmbedConfig

_TABLE = ".parquet"


class EmbeddingSummary(NamedTuple):
    """The result of `embed_photos`.

    Attributes:
        out: Table or store.
        images: Number of photos.
        embedded: Number of photos that were embedded now; a store has the others already.
        broken: Name and reason of each photo that cannot be used, in order.
    """

    out: Path
    images: int
    embedded: int
    broken: tuple[tuple[str, str], ...]


def embed_photos(config: EmbedConfig, *, show_progress: bool = False) -> EmbeddingSummary:
    """Embed photos with a classifier or a backbone.

    A table has ``image``, ``embedding`` and ``error`` of each photo, in order; the embedding is
    that of the classifier, after its neck. A store gets the features of the backbone, which neck
    and head may learn from; the same call again goes on with the photos that it lacks. Photos are
    called as in `predict_to_file`.

    Raises:
        ConfigError: The source is neither a folder nor a backbone, an option does not go with it,
            the table exists, or the store holds embeddings of other weights or preprocessing.
        CheckpointError: The classifier's folder is incomplete or changed, or there are no such
            weights.
    """
    if config.out.suffix.lower() != _TABLE:
        return _to_store(config, shown=show_progress)
    if config.out.exists():
        raise ConfigError(f"{config.out} exists already. Remove it or choose another --out.")
    return _to_table(config, shown=show_progress)


class _Backbone(NamedTuple):
    """What a store's features are made with."""

    network: Network
    preprocessing: Preprocessing
    model: ModelRecipe


def _backbone(config: EmbedConfig) -> _Backbone:
    """Return the backbone of a classifier, or the one of a name as training would begin with it."""
    if _is_classifier(config):
        parts = load_parts(Path(config.source))
        return _Backbone(parts.network, parts.preprocessing, parts.recipe.model)
    row = find_row(config.source)
    model = ModelRecipe(
        backbone=config.source if row is None else row.backbone,
        options={} if row is None else dict(row.options),
        weights="pretrained" if config.weights is None else config.weights,
        image_size=config.image_size,
        fit="crop" if config.fit is None else config.fit,
    )
    model = with_input_of_weights(model)
    # Its head plays no part.
    network = build_network(
        backbone=model.backbone,
        weights=model.weights,
        options=model.options,
        head="linear",
        classes=1,
        seed=0,
    )
    check_image_size(network, model)
    return _Backbone(network, preprocessing_of(model, network), model)


def _is_classifier(config: EmbedConfig) -> bool:
    source = Path(config.source)
    if source.is_dir():
        given = {"weights", "image_size", "fit"} & config.model_fields_set
        if given:
            raise ConfigError(
                f"{', '.join(sorted(given))}: {source} is a classifier, which has its own weights "
                "and preprocessing. Leave these options out, or name a backbone."
            )
        return True
    if len(source.parts) > 1 and ":" not in config.source:
        raise ConfigError(
            f"{source} is no folder, so it is no classifier; the name of a backbone has no "
            "slashes. Check the path, or choose a name that `taxonet list backbones` prints."
        )
    return False


def _to_store(config: EmbedConfig, *, shown: bool) -> EmbeddingSummary:
    backbone = _backbone(config)
    embedder = Embedder.open(
        config.out,
        backbone.network,
        backbone.preprocessing,
        model=backbone.model,
        device=pick_device(config.device),
    )
    photos = list(_photos(config))
    before = len(embedder.store)
    stored = embedder.add(
        photos,
        batch_size=config.batch_size,
        workers=pick_workers(config.workers, len(photos)),
        shown=shown,
    )
    broken = tuple((photos[place][0], why) for place, why in sorted(stored.broken.items()))
    return EmbeddingSummary(config.out, len(photos), len(embedder.store) - before, broken)


_SCHEMA = pa.schema(
    [
        ("image", pa.string()),
        # Not lists of a fixed size: pyarrow up to 25 cannot read nulls among those.
        ("embedding", pa.list_(pa.float32())),
        ("error", pa.string()),
    ]
)


def _to_table(config: EmbedConfig, *, shown: bool) -> EmbeddingSummary:
    batches = _classifier_batches if _is_classifier(config) else _backbone_batches
    images, all_broken = 0, []
    with (
        atomic_file(config.out) as path,
        pq.ParquetWriter(path, _SCHEMA) as writer,
        Progress("embedding photos", None, shown=shown) as progress,
    ):
        for names, embedding, broken in batches(config):
            writer.write_table(_rows(names, embedding, broken))
            images += len(names)
            all_broken += [(names[place], why) for place, why in sorted(broken.items())]
            progress.advance(len(names))
    return EmbeddingSummary(config.out, images, images - len(all_broken), tuple(all_broken))


_Batches = Iterator[tuple[list[str], Tensor, Mapping[int, str]]]


def _classifier_batches(config: EmbedConfig) -> _Batches:
    classifier = TaxonClassifier.load(config.source, device=config.device)
    workers = pick_workers(config.workers, count_images(config.images))
    batches = classifier.score(_photos(config), batch_size=config.batch_size, workers=workers)
    for batch in batches:
        yield batch.names, batch.embedding, batch.broken


def _backbone_batches(config: EmbedConfig) -> _Batches:
    network, preprocessing, _ = _backbone(config)
    device = pick_device(config.device)
    batches = feature_batches(
        network,
        (path for _, path in _photos(config)),
        plain(preprocessing.resize),
        device=device,
        batch_size=pick_batch_size(config.batch_size, device),
        workers=pick_workers(config.workers, count_images(config.images)),
    )
    for paths, features, broken in batches:
        yield [readable_path(path) for path in paths], features, broken


def _photos(config: EmbedConfig) -> Iterator[tuple[str, Path]]:
    return ((readable_path(photo), Path(photo)) for photo in find_images(config.images))


def _rows(names: list[str], embedding: Tensor, broken: Mapping[int, str]) -> pa.Table:
    vectors = iter(embedding.numpy())
    places = range(len(names))
    return pa.table(
        {
            "image": names,
            "embedding": [None if place in broken else next(vectors) for place in places],
            "error": [broken.get(place) for place in places],
        },
        schema=_SCHEMA,
    )
