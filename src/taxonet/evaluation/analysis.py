"""The verb `analyse`: the geometry of a trained classifier."""

import sys
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from taxonet.classifier import (
    TaxonClassifier,
    TrailPoint,
    TrainingIndex,
    index_file,
    read_trail,
)
from taxonet.data.matching import match_photos
from taxonet.data.sources import open_images
from taxonet.devices import pick_workers
from taxonet.errors import ConfigError, DataError
from taxonet.evaluation.geometry import (
    SHRINKAGE,
    TRAINING,
    EmbeddedPhotos,
    Geometry,
    measure_geometry,
    separability_operations,
)
from taxonet.evaluation.head_rows import (
    class_scores,
    class_vectors,
    remarks_on_rows,
    score_unit,
)
from taxonet.evaluation.projection import TOO_FEW, Projection, project, tsne_class
from taxonet.metrics import score_margins
from taxonet.progress import Progress
from taxonet.recipes.verbs import AnalyseConfig
from taxonet.version import __version__

# A quarter of an hour, more or less.
_OPERATIONS_AT_MOST = 1e12


@dataclass(frozen=True)
class Analysis:
    """What an analysis found: figures for ``geometry.json``, and what the report draws from.

    Attributes:
        classifier: What was looked into.
        geometry: How its classes lie now.
        trail: How they moved while the second stage was fitted; empty without one.
        projection: Photos as points of a plane; None where nobody asked, or without photos enough.
        figures: All of it as plain values.
        notes: What is left out, and why.
    """

    classifier: TaxonClassifier
    geometry: Geometry
    trail: tuple[TrailPoint, ...]
    projection: Projection | None
    figures: dict[str, Any]
    notes: tuple[str, ...]


def analyse(config: AnalyseConfig, *, show_progress: bool = False) -> Analysis:
    """Measure how a classifier's embeddings, class means and class weights lie in space.

    The embeddings of the training photos come from the classifier's index, and no training photo
    is read. In memory they take 4 bytes a number, and Fisher's separability up to twice as much on
    top.

    Raises:
        ConfigError: A classifier of several experts, which has no one vector a class; or t-SNE
            without scikit-learn, or without any photos.
        CheckpointError: The classifier folder is incomplete.
        DataError: No photo is left to look at, or files that cannot be understood.
    """
    classifier = TaxonClassifier.load(
        config.classifier, device=config.device, features=config.features
    )
    if config.tsne:
        _check_tsne(config)
    vectors, head_classes = class_vectors(classifier)
    notes = remarks_on_rows(classifier)
    photos: dict[str, EmbeddedPhotos] = {}
    if index_file(config.classifier).is_file():
        photos[TRAINING] = _training_photos(config, shown=show_progress)
    else:
        notes.append(
            "The classifier has no index, so nothing is said of its training photos and their "
            "class means: `taxonet train` writes it."
        )
    unreadable: dict[str, str] = {}
    if config.images is not None:
        photos[config.split], unreadable = _embedded(classifier, config, shown=show_progress)
    cheap = [name for name, found in photos.items() if config.separability or _is_cheap(found)]
    notes += [
        f"Fisher's separability is left out for the photos '{name}', whose pairs of classes would "
        "take over a quarter of an hour: --separability computes it."
        for name in photos
        if name not in cheap
    ]
    geometry = measure_geometry(
        [str(classifier.taxonomy.names[node]) for node in classifier.class_nodes],
        classifier.class_counts,
        vectors,
        photos,
        head_classes=head_classes,
        separability_of=cheap,
    )
    trail = read_trail(config.classifier)
    projection = _projection(classifier, config, photos) if config.tsne else None
    if config.tsne and projection is None:
        notes.append(TOO_FEW)
    figures = {
        "taxonet": __version__,
        "classifier": str(config.classifier),
        "images": None if config.images is None else str(config.images),
        "recipe": classifier.parts.recipe.model_dump(),
        "unreadable": unreadable,
        "margin_unit": score_unit(classifier),
        "shrinkage": SHRINKAGE,
        "notes": notes,
        **geometry_figures(geometry),
        "second_stage": [asdict(point) for point in trail],
        "tsne": None if projection is None else projection.figures(),
    }
    return Analysis(classifier, geometry, trail, projection, figures, tuple(notes))


def geometry_figures(geometry: Geometry) -> dict[str, Any]:
    """Return a geometry as plain values for JSON."""
    pairs = {
        kind: {name: asdict(means) for name, means in found.by_name().items()}
        for kind, found in geometry.pairs.items()
    }
    # The pairs by tuples of groups are no keys of JSON.
    return {**asdict(replace(geometry, pairs={})), "pairs": pairs}


def _check_tsne(config: AnalyseConfig) -> None:
    """Refuse, before anything slow is done, what could not end in a picture."""
    tsne_class()
    if config.images is None and not index_file(config.classifier).is_file():
        raise ConfigError(
            f"--tsne draws photos, and {config.classifier} has no index of training photos: give "
            "labelled photos with --images."
        )


def _projection(
    classifier: TaxonClassifier, config: AnalyseConfig, photos: dict[str, EmbeddedPhotos]
) -> Projection | None:
    name = TRAINING if config.images is None else config.split
    return project(name, photos[name], classifier.taxonomy, classifier.class_nodes)


def _training_photos(config: AnalyseConfig, *, shown: bool) -> EmbeddedPhotos:
    index = TrainingIndex(config.classifier, wanted_by="the geometry of training")
    if shown:
        mib = 4 * index.images * index.features / 2**20
        sys.stderr.write(
            f"The index holds {index.images:,} embeddings of {index.features:,} numbers: "
            f"{mib:,.0f} MiB, with Fisher's separability up to {3 * mib:,.0f} MiB.\n"
        )
    # Nobody else asks for names, and a million of them take a while.
    names = tuple(index.names()) if config.tsne and config.images is None else ()
    return EmbeddedPhotos(*index.read(), names=names)


def _is_cheap(photos: EmbeddedPhotos) -> bool:
    cost = separability_operations(photos.targets, photos.embeddings.shape[1])
    return cost <= _OPERATIONS_AT_MOST


def _embedded(
    classifier: TaxonClassifier, config: AnalyseConfig, *, shown: bool
) -> tuple[EmbeddedPhotos, dict[str, str]]:
    """Embed the photos of the split whose taxa are classes; say which could not be read."""
    assert config.images is not None
    table = open_images(config.images)
    table = table.split(config.split) if "split" in table.frame else table
    matched = match_photos(table, classifier.taxonomy, classifier.class_nodes)
    targets = np.searchsorted(classifier.class_nodes, matched.nodes)
    embeddings, margins, rows = [], [], []
    unreadable: dict[str, str] = {}
    known, start = matched.known, 0
    named = ((known.name(row), known.source(row)) for row in range(len(known)))
    with Progress("looking", len(targets), shown=shown) as progress:
        workers = pick_workers(config.workers, len(known))
        for batch in classifier.score(named, batch_size=config.batch_size, workers=workers):
            good = [start + p for p in range(len(batch.names)) if p not in batch.broken]
            unreadable |= {batch.names[place]: why for place, why in batch.broken.items()}
            start += len(batch.names)
            progress.advance(len(batch.names))
            embeddings.append(batch.embedding.numpy())
            margins.append(score_margins(class_scores(classifier, batch.logits), targets[good]))
            rows += good
    if not rows:
        raise DataError(
            f"{config.images}: none of {len(table)} photos can be read and is of a taxon that the "
            f"classifier knows ({len(unreadable)} unreadable, {sum(matched.dropped.values())} of "
            f"other labels: {', '.join(list(matched.dropped)[:5]) or 'none'}). Labels must be "
            "those of its taxonomy, and paths are relative to the manifest's folder."
        )
    found = EmbeddedPhotos(
        embeddings=np.concatenate(embeddings),
        targets=targets[rows],
        margins=np.concatenate(margins),
        names=tuple(known.name(row) for row in rows),
    )
    return found, unreadable
