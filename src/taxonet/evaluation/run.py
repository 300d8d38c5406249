"""The verb `evaluate`: every figure, on photos that the classifier was not trained on."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from taxonet.classifier import TaxonClassifier
from taxonet.data.sources import open_images
from taxonet.data.table import ImageTable
from taxonet.errors import DataError
from taxonet.evaluation.figures import (
    all_levels,
    calibration_figures,
    class_figures,
    confused_figures,
    decision_figures,
    open_set_figures,
)
from taxonet.evaluation.judge import CLASS_LEVEL, Judgement, judge
from taxonet.evaluation.matching import MatchedPhotos, match_photos
from taxonet.recipes.verbs import EvaluateConfig
from taxonet.version import __version__


@dataclass(frozen=True)
class Evaluation:
    """What a judgement found: figures for ``metrics.json``, and what the report draws from."""

    classifier: TaxonClassifier
    metrics: dict[str, Any]
    test: Judgement
    photos: MatchedPhotos
    region: Judgement | None = None
    unknown: Judgement | None = None


def evaluate(config: EvaluateConfig, *, show_progress: bool = False) -> Evaluation:
    """Judge a classifier; nothing is chosen or tuned here.

    Raises:
        DataError: No photo is left to judge on, or files that cannot be understood.
        CheckpointError: The classifier folder is incomplete.
    """
    classifier = TaxonClassifier.load(config.classifier, device=config.device)
    judging = _Judging(classifier, config, show_progress)
    photos = match_photos(
        _split_of(open_images(config.images), config.split),
        classifier.taxonomy,
        classifier.class_nodes,
    )
    test = judging.of(photos, "judging")
    metrics: dict[str, Any] = {
        "taxonet": __version__,
        "classifier": str(config.classifier),
        "images": str(config.images),
        "split": config.split,
        "recipe": classifier.parts.recipe.model_dump(),
        "test": {
            **photos.facts,
            "dropped": photos.dropped,
            "unreadable": test.unreadable,
            "seen_in_training": _seen_in_training(config, photos.known),
            **_figures(classifier, test),
        },
    }
    region, unknown_photos = None, []
    if config.region is not None:
        matched = match_photos(
            open_images(config.region),
            classifier.taxonomy,
            classifier.class_nodes,
            taxon_map=config.taxon_map,
        )
        region = judging.of(matched, "another region")
        metrics["region"] = {
            "images": str(config.region),
            **matched.facts,
            "dropped": matched.dropped,
            "unreadable": region.unreadable,
            **_figures(classifier, region),
        }
        unknown_photos.append(matched.unknown)
    if config.unknown is not None:
        unknown_photos.append(open_images(config.unknown))
    unknown = judging.unknown([table for table in unknown_photos if len(table)])
    if unknown is not None:
        metrics["open_set"] = open_set_figures(classifier.calibration, test, unknown)
    return Evaluation(classifier, metrics, test, photos, region, unknown)


class _Judging:
    """The options that all runs of one evaluation share."""

    def __init__(self, classifier: TaxonClassifier, config: EvaluateConfig, shown: bool) -> None:
        self._classifier, self._config, self._shown = classifier, config, shown

    def of(self, photos: MatchedPhotos, what: str) -> Judgement:
        if not len(photos.known):
            labels = ", ".join(list(photos.dropped)[:5])
            raise DataError(
                f"{what}: no photo is of a taxon that the classifier knows (labels: {labels}). "
                "Check that the labels are those of its taxonomy, or give --taxon-map."
            )
        return self._run(photos.known, photos.nodes, what)

    def unknown(self, tables: list[ImageTable]) -> Judgement | None:
        """Judge photos of taxa that the classifier lacks: they have no true node."""
        found: Judgement | None = None
        for table in tables:
            more = self._run(table, np.full(len(table), -1), "unknown taxa")
            if found is None:
                found = more
            else:
                found.novelty += more.novelty
                found.named += more.named
                found.unreadable |= more.unreadable
        return found

    def _run(self, table: ImageTable, nodes: Any, what: str) -> Judgement:
        return judge(
            self._classifier,
            table,
            nodes,
            batch_size=self._config.batch_size,
            workers=self._config.workers,
            what=what,
            shown=self._shown,
        )


def _figures(classifier: TaxonClassifier, judgement: Judgement) -> dict[str, Any]:
    classes = judgement.levels[CLASS_LEVEL]
    return {
        "levels": all_levels(judgement),
        "calibration": calibration_figures(judgement),
        "decision": decision_figures(classifier, judgement),
        "confused": confused_figures(classifier, classes),
        "per_class": class_figures(classes),
    }


def _split_of(table: ImageTable, split: str) -> ImageTable:
    return table.split(split) if "split" in table.frame else table


def _seen_in_training(config: EvaluateConfig, table: ImageTable) -> int | None:
    """Count the photos whose very bytes were trained on; None where there is no index."""
    index = config.classifier / "index" / "training.parquet"
    if not index.is_file():
        return None
    trained = set(pq.read_table(index, columns=["sha256"])["sha256"].to_pylist())
    seen = 0
    for row in range(len(table)):
        try:
            seen += sha256(table.read_bytes(row)).hexdigest() in trained
        except OSError:
            continue  # it is counted among the unreadable
    return seen
