"""The verb `evaluate`: every figure, on photos that the classifier was not trained on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taxonet.classifier import TaxonClassifier, trained_on
from taxonet.data.matching import MatchedPhotos, match_photos
from taxonet.data.sources import open_images
from taxonet.data.table import ImageTable
from taxonet.errors import ConfigError
from taxonet.evaluation.breakdown import Breakdown, has_column
from taxonet.evaluation.decisions import decision_figures, mixed_decision_figures
from taxonet.evaluation.examiner import Examiner
from taxonet.evaluation.figures import (
    Figures,
    all_levels,
    calibration_figures,
    class_figures,
    confused_figures,
)
from taxonet.evaluation.judge import CLASS_LEVEL, Judgement, Watcher, levels_of
from taxonet.evaluation.novelty_scores import all_novelty_scores, novelty_score_figures
from taxonet.evaluation.open_set import UnknownPhotos, open_set_figures
from taxonet.evaluation.prior_shift import CorrectedLevels
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
        ConfigError: A taxon map without the region whose labels it translates, novelty scores to
            compare without photos of unknown taxa, a column that the photos do not have, or a
            network without the layers that are to be adapted.
        DataError: No photo is left to judge on, or files that cannot be understood.
        CheckpointError: The classifier folder is incomplete.
    """
    _check_region(config)
    classifier = TaxonClassifier.load(
        config.classifier, device=config.device, features=config.features
    )
    images = open_images(config.images)
    photos = match_photos(
        _split_of(images, config.split), classifier.taxonomy, classifier.class_nodes
    )
    _check_unknown(config, photos)
    compared = all_novelty_scores(classifier, config.classifier) if config.novelty_scores else None
    examiner = Examiner(classifier, config, compared=compared, shown=show_progress)
    test, figures = _judge_test(examiner, config, photos)
    metrics: dict[str, Any] = {
        "taxonet": __version__,
        "classifier": str(config.classifier),
        "images": str(config.images),
        "split": config.split,
        "recipe": classifier.parts.recipe.model_dump(),
        "test": figures,
    }
    unknown = examiner.called_unknown(photos)
    region, elsewhere = None, list[UnknownPhotos]()
    if config.region is not None:
        matched, region, metrics["region"] = _judge_region(examiner, config, config.region)
        elsewhere = examiner.called_unknown(matched)
    if config.unknown is not None:
        unknown.append(examiner.unknown(config.unknown))
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
            calibration=examiner.calibration(images),
        )
    novelty = tuple(value for one in unknown for value in one.judgement.novelty)
    return Evaluation(classifier, metrics, test, photos, region, novelty)


def _check_region(config: EvaluateConfig) -> None:
    if config.taxon_map is not None and config.region is None:
        raise ConfigError(
            f"{config.taxon_map} would translate the labels of another region's photos, and there "
            "are none: give them with --region."
        )


def _check_unknown(config: EvaluateConfig, photos: MatchedPhotos) -> None:
    elsewhere = config.unknown is not None or config.region is not None
    if config.novelty_scores and not elsewhere and not len(photos.unknown):
        raise ConfigError(
            "--novelty-scores compares scores on photos of unknown taxa, and there are none: give "
            "them with --unknown."
        )


def _judge_test(
    examiner: Examiner, config: EvaluateConfig, photos: MatchedPhotos
) -> tuple[Judgement, Figures]:
    classifier = examiner.classifier
    breakdown = Breakdown(levels_of(classifier), photos.known, config.by)
    judgement = examiner.of(
        photos, config.images, what="judging", scores=examiner.scores, watchers=[breakdown]
    )
    figures = {
        "seen_in_training": _seen_in_training(config, photos.known),
        **_figures(classifier, photos, judgement, promise=classifier.naming.promise),
        "by": breakdown.figures(),
    }
    return judgement, figures


def _judge_region(
    examiner: Examiner, config: EvaluateConfig, path: Path
) -> tuple[MatchedPhotos, Judgement, Figures]:
    """Judge photos of another region; what adapts to them never sees their labels."""
    table, classifier = open_images(path), examiner.classifier
    photos = match_photos(
        table, classifier.taxonomy, classifier.class_nodes, taxon_map=config.taxon_map
    )
    if config.batch_norm == "target" and len(photos.known):
        examiner = examiner.adapted_to(table)
        classifier = examiner.classifier
    corrected = None
    if config.prior_shift and len(photos.known):
        corrected = CorrectedLevels(classifier, examiner.shift_of(table))
    columns = [column for column in config.by if has_column(photos.known, column)]
    breakdown = Breakdown(levels_of(classifier), photos.known, columns)
    watchers: list[Watcher] = [breakdown, *([] if corrected is None else [corrected])]
    judgement = examiner.of(photos, path, what="another region", watchers=watchers)
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
