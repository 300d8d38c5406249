"""The verb `evaluate`: every figure, on photos that the classifier was not trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from taxonet.classifier import TaxonClassifier
from taxonet.data.sources import open_images
from taxonet.data.table import ImageTable
from taxonet.errors import ConfigError, DataError
from taxonet.evaluation.adaptation import adapt_to_photos
from taxonet.evaluation.breakdown import Breakdown, has_column
from taxonet.evaluation.figures import (
    Figures,
    all_levels,
    calibration_figures,
    class_figures,
    confused_figures,
    decision_figures,
    open_set_figures,
)
from taxonet.evaluation.judge import CLASS_LEVEL, IntArray, Judgement, Watcher, judge, levels_of
from taxonet.evaluation.matching import MatchedPhotos, match_photos
from taxonet.evaluation.prior_shift import CorrectedLevels, PriorShift, estimate_shift
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
    unknown_novelty: tuple[float, ...] = ()
    """Novelty score of each readable photo of a taxon that the classifier lacks."""


def evaluate(config: EvaluateConfig, *, show_progress: bool = False) -> Evaluation:
    """Judge a classifier; nothing is chosen or tuned here.

    Raises:
        ConfigError: A taxon map without the region whose labels it translates, a column that the
            photos do not have, or a network without the layers that are to be adapted.
        DataError: No photo is left to judge on, or files that cannot be understood.
        CheckpointError: The classifier folder is incomplete.
    """
    if config.taxon_map is not None and config.region is None:
        raise ConfigError(
            f"{config.taxon_map} would translate the labels of another region's photos, and there "
            "are none: give them with --region."
        )
    classifier = TaxonClassifier.load(config.classifier, device=config.device)
    judging = _Judging(classifier, config, show_progress)
    photos = match_photos(
        _split_of(open_images(config.images), config.split),
        classifier.taxonomy,
        classifier.class_nodes,
    )
    breakdown = Breakdown(levels_of(classifier), photos.known, config.by)
    test = judging.of(photos, config.images, what="judging", watchers=[breakdown])
    metrics: dict[str, Any] = {
        "taxonet": __version__,
        "classifier": str(config.classifier),
        "images": str(config.images),
        "split": config.split,
        "recipe": classifier.parts.recipe.model_dump(),
        "test": {
            "seen_in_training": _seen_in_training(config, photos.known),
            **_figures(classifier, photos, test),
            "by": breakdown.figures(),
        },
    }
    unknown_photos = [photos.unknown]
    region = None
    if config.region is not None:
        matched, region, metrics["region"] = _judge_region(judging, config, config.region)
        unknown_photos.append(matched.unknown)
    if config.unknown is not None:
        unknown_photos.append(_open_unknown(config.unknown, classifier))
    unknown = [judging.unknown(table) for table in unknown_photos if len(table)]
    if unknown:
        metrics["open_set"] = open_set_figures(classifier.calibration, test, unknown)
    novelty = tuple(value for one in unknown for value in one.novelty)
    return Evaluation(classifier, metrics, test, photos, region, novelty)


class _Judging:
    """The options that all runs of one evaluation share."""

    def __init__(self, classifier: TaxonClassifier, config: EvaluateConfig, shown: bool) -> None:
        self.classifier, self._config, self._shown = classifier, config, shown

    def adapted_to(self, table: ImageTable) -> "_Judging":
        """Return the same with the batch norm statistics of photos."""
        adapted = adapt_to_photos(
            self.classifier,
            table,
            batch_size=self._config.batch_size,
            workers=self._config.workers,
            shown=self._shown,
        )
        return _Judging(adapted, self._config, self._shown)

    def shift_of(self, table: ImageTable) -> PriorShift:
        """Estimate how common the classes are among photos."""
        return estimate_shift(
            self.classifier,
            table,
            source=self._config.source_prior,
            batch_size=self._config.batch_size,
            workers=self._config.workers,
            shown=self._shown,
        )

    def of(
        self, photos: MatchedPhotos, path: Path, *, what: str, watchers: Sequence[Watcher] = ()
    ) -> Judgement:
        """Judge photos of taxa that the classifier knows.

        Raises:
            DataError: There is none, or none that can be read.
        """
        if not len(photos.known):
            labels = ", ".join(list(photos.dropped)[:5]) or "none"
            raise DataError(
                f"{path}: no photo is of a taxon that the classifier knows (labels: {labels}). "
                "Labels must be those of its taxonomy; --taxon-map translates those of --region, "
                "and `taxonet data match` makes such a map of two taxonomies."
            )
        judgement = self._run(photos.known, photos.nodes, what, watchers)
        if not judgement.rows:
            first, reason = next(iter(judgement.unreadable.items()))
            raise DataError(
                f"{path}: none of the {len(photos.known)} photos can be read (first: {first}: "
                f"{reason}). Check the paths: they are relative to the manifest's folder."
            )
        return judgement

    def unknown(self, table: ImageTable) -> Judgement:
        """Judge photos of taxa that the classifier lacks: they have no true node."""
        return self._run(table, np.full(len(table), -1), "unknown taxa")

    def _run(
        self, table: ImageTable, nodes: IntArray, what: str, watchers: Sequence[Watcher] = ()
    ) -> Judgement:
        return judge(
            self.classifier,
            table,
            nodes,
            batch_size=self._config.batch_size,
            workers=self._config.workers,
            what=what,
            shown=self._shown,
            watchers=watchers,
        )


def _judge_region(
    judging: _Judging, config: EvaluateConfig, path: Path
) -> tuple[MatchedPhotos, Judgement, Figures]:
    """Judge photos of another region; what adapts to them never sees their labels."""
    table, classifier = open_images(path), judging.classifier
    photos = match_photos(
        table, classifier.taxonomy, classifier.class_nodes, taxon_map=config.taxon_map
    )
    if config.batch_norm == "target" and len(photos.known):
        judging = judging.adapted_to(table)
        classifier = judging.classifier
    corrected = None
    if config.prior_shift and len(photos.known):
        corrected = CorrectedLevels(classifier, judging.shift_of(table))
    columns = [column for column in config.by if has_column(photos.known, column)]
    breakdown = Breakdown(levels_of(classifier), photos.known, columns)
    watchers: list[Watcher] = [breakdown, *([] if corrected is None else [corrected])]
    judgement = judging.of(photos, path, what="another region", watchers=watchers)
    figures = {
        "images": str(path),
        "batch_norm": config.batch_norm,
        **_figures(classifier, photos, judgement),
        "by": breakdown.figures(),
    }
    if corrected is not None:
        figures["prior_shift"] = corrected.figures(judgement.levels)
    return photos, judgement, figures


def _open_unknown(path: Path, classifier: TaxonClassifier) -> ImageTable:
    table = open_images(path)
    stray = match_photos(table, classifier.taxonomy, classifier.class_nodes).known
    if len(stray):
        raise DataError(
            f"{path}: {len(stray)} photos are of taxa that the classifier knows (first: "
            f"{stray.name(0)}, {stray.frame['taxon'].iloc[0]}). Photos of unknown taxa must be of "
            "others; take them out."
        )
    return table


def _figures(
    classifier: TaxonClassifier, photos: MatchedPhotos, judgement: Judgement
) -> dict[str, Any]:
    classes = judgement.levels[CLASS_LEVEL]
    return {
        **photos.facts,
        "dropped": photos.dropped,
        "unreadable": judgement.unreadable,
        "levels": all_levels(judgement),
        "rollups": judgement.rollups.figures(),
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
