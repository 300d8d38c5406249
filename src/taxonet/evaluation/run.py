"""The verb `evaluate`: every figure, on photos that the classifier was not trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from taxonet.classifier import TaxonClassifier, trained_on
from taxonet.data.matching import MatchedPhotos, match_photos, open_unknown, unknown_nodes
from taxonet.data.sources import open_images
from taxonet.data.table import ImageTable
from taxonet.errors import ConfigError, DataError
from taxonet.evaluation.adaptation import adapt_to_photos
from taxonet.evaluation.breakdown import Breakdown, has_column
from taxonet.evaluation.decisions import decision_figures, mixed_decision_figures
from taxonet.evaluation.figures import (
    Figures,
    all_levels,
    calibration_figures,
    class_figures,
    confused_figures,
)
from taxonet.evaluation.judge import (
    CLASS_LEVEL,
    IntArray,
    Judgement,
    NoveltyScore,
    Watcher,
    judge,
    levels_of,
)
from taxonet.evaluation.novelty_scores import (
    NoveltyScores,
    all_novelty_scores,
    calibration_novelty,
    novelty_score_figures,
)
from taxonet.evaluation.novelty_strata import OTHER, novelty_strata
from taxonet.evaluation.open_set import UnknownPhotos, open_set_figures
from taxonet.evaluation.prior_shift import CorrectedLevels, PriorShift, estimate_shift
from taxonet.recipes.verbs import EvaluateConfig
from taxonet.version import __version__

Scores = Mapping[str, NoveltyScore]
_NO_SCORES: Scores = MappingProxyType({})


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
        ConfigError: A taxon map without the region whose labels it translates, novelty scores to
            compare without photos of unknown taxa, a column that the photos do not have, or a
            network without the layers that are to be adapted.
        DataError: No photo is left to judge on, or files that cannot be understood.
        CheckpointError: The classifier folder is incomplete.
    """
    if config.taxon_map is not None and config.region is None:
        raise ConfigError(
            f"{config.taxon_map} would translate the labels of another region's photos, and there "
            "are none: give them with --region."
        )
    classifier = TaxonClassifier.load(config.classifier, device=config.device)
    images = open_images(config.images)
    photos = match_photos(
        _split_of(images, config.split), classifier.taxonomy, classifier.class_nodes
    )
    if (
        config.novelty_scores
        and config.unknown is config.region is None
        and not len(photos.unknown)
    ):
        raise ConfigError(
            "--novelty-scores compares scores on photos of unknown taxa, and there are none: give "
            "them with --unknown."
        )
    compared = all_novelty_scores(classifier, config.classifier) if config.novelty_scores else None
    judging = _Judging(classifier, config, compared, show_progress)
    breakdown = Breakdown(levels_of(classifier), photos.known, config.by)
    test = judging.of(
        photos, config.images, what="judging", scores=judging.scores, watchers=[breakdown]
    )
    metrics: dict[str, Any] = {
        "taxonet": __version__,
        "classifier": str(config.classifier),
        "images": str(config.images),
        "split": config.split,
        "recipe": classifier.parts.recipe.model_dump(),
        "test": {
            "seen_in_training": _seen_in_training(config, photos.known),
            **_figures(classifier, photos, test, promise=classifier.naming.promise),
            "by": breakdown.figures(),
        },
    }
    unknown = judging.called_unknown(photos)
    region, elsewhere = None, list[UnknownPhotos]()
    if config.region is not None:
        matched, region, metrics["region"] = _judge_region(judging, config, config.region)
        elsewhere = judging.called_unknown(matched)
    if config.unknown is not None:
        unknown.append(judging.unknown(config.unknown))
    if any(len(one.nodes) for one in unknown):
        metrics["test_and_unknown"] = mixed_decision_figures(classifier, test, unknown)
    unknown += elsewhere
    if unknown:
        metrics["open_set"] = open_set_figures(classifier, test, unknown)
    if compared is not None and any(one.strata for one in unknown):
        metrics["novelty_scores"] = novelty_score_figures(
            classifier,
            compared,
            known=test,
            unknown=unknown,
            calibration=judging.calibration(images),
        )
    novelty = tuple(value for one in unknown for value in one.judgement.novelty)
    return Evaluation(classifier, metrics, test, photos, region, novelty)


class _Judging:
    """The options that all runs of one evaluation share."""

    def __init__(
        self,
        classifier: TaxonClassifier,
        config: EvaluateConfig,
        compared: NoveltyScores | None,
        shown: bool,
    ) -> None:
        self.classifier, self._config, self._shown = classifier, config, shown
        self._compared = compared
        self.scores = {} if compared is None else compared.scores

    def adapted_to(self, table: ImageTable) -> "_Judging":
        """Return the same with the batch norm statistics of photos."""
        adapted = adapt_to_photos(
            self.classifier,
            table,
            batch_size=self._config.batch_size,
            workers=self._config.workers,
            shown=self._shown,
        )
        return _Judging(adapted, self._config, self._compared, self._shown)

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
        self,
        photos: MatchedPhotos,
        path: Path,
        *,
        what: str,
        scores: Scores = _NO_SCORES,
        watchers: Sequence[Watcher] = (),
    ) -> Judgement:
        """Judge photos of taxa that the classifier knows, also by other novelty scores.

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
        judgement = self._run(photos.known, photos.nodes, what, scores, watchers)
        if not judgement.rows:
            first, reason = next(iter(judgement.unreadable.items()))
            raise DataError(
                f"{path}: none of the {len(photos.known)} photos can be read (first: {first}: "
                f"{reason}). Check the paths: they are relative to the manifest's folder."
            )
        return judgement

    def called_unknown(self, photos: MatchedPhotos) -> list[UnknownPhotos]:
        """Judge photos that a map calls unknown, if any; in their labels no taxon is looked for."""
        table = photos.unknown
        if not len(table):
            return []
        nodes = np.zeros(len(table), dtype=np.int64)
        return [self._unknown(table, nodes, [OTHER] * len(table))]

    def unknown(self, path: Path) -> UnknownPhotos:
        """Judge photos of taxa that the classifier lacks."""
        taxonomy, class_nodes = self.classifier.taxonomy, self.classifier.class_nodes
        table = open_unknown(path, taxonomy, class_nodes)
        nodes = unknown_nodes(table, taxonomy, class_nodes)
        return self._unknown(table, nodes, novelty_strata(table, self.classifier.reading))

    def _unknown(self, table: ImageTable, nodes: IntArray, strata: Sequence[str]) -> UnknownPhotos:
        # They have no true class, which is what a judgement counts.
        found = self._run(table, np.full(len(table), -1), "unknown taxa", self.scores)
        return UnknownPhotos(found, tuple(strata[row] for row in found.rows), nodes[found.rows])

    def calibration(self, images: ImageTable) -> dict[str, list[float]]:
        """Return the novelty of the calibration photos by each score; empty without a threshold.

        Photos that are judged set no threshold, and photos of unknown taxa neither.
        """
        if "calibration" not in images.split_counts() or self._config.split == "calibration":
            return {}
        photos = match_photos(
            images.split("calibration"), self.classifier.taxonomy, self.classifier.class_nodes
        )
        return calibration_novelty(
            self.classifier,
            photos.known,
            self.scores,
            batch_size=self._config.batch_size,
            workers=self._config.workers,
            shown=self._shown,
        )

    def _run(
        self,
        table: ImageTable,
        nodes: IntArray,
        what: str,
        scores: Scores,
        watchers: Sequence[Watcher] = (),
    ) -> Judgement:
        return judge(
            self.classifier,
            table,
            nodes,
            novelty_scores=scores,
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
        **_figures(classifier, photos, judgement, promise=_ELSEWHERE),
        "by": breakdown.figures(),
    }
    if corrected is not None:
        figures["prior_shift"] = corrected.figures(judgement.levels)
    return photos, judgement, figures


_ELSEWHERE = "none: calibrated on photos from elsewhere"


def _figures(
    classifier: TaxonClassifier, photos: MatchedPhotos, judgement: Judgement, *, promise: str
) -> dict[str, Any]:
    classes = judgement.levels[CLASS_LEVEL]
    return {
        **photos.facts,
        "dropped": photos.dropped,
        "unreadable": judgement.unreadable,
        "levels": all_levels(judgement),
        "rollups": judgement.rollups.figures(),
        "calibration": calibration_figures(judgement),
        "decision": decision_figures(classifier, judgement, promise=promise),
        "confused": confused_figures(classifier, classes),
        "per_class": class_figures(classes),
    }


def _split_of(table: ImageTable, split: str) -> ImageTable:
    return table.split(split) if "split" in table.frame else table


def _seen_in_training(config: EvaluateConfig, table: ImageTable) -> int | None:
    """Count the photos whose very bytes were trained on; None where there is no index."""
    seen = trained_on(config.classifier, table)
    return None if seen is None else int(seen.sum())
