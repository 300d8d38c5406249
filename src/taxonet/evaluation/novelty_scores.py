"""Every novelty score side by side: of outputs, and fitted to what the classifier's index holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from taxonet.classifier import (
    ScoredBatch,
    StoredEmbeddings,
    TaxonClassifier,
    TrainingIndex,
    fit_novelty_score,
    index_file,
)
from taxonet.classifier.novelty import choice_of, fitted_novelty, output_novelty
from taxonet.data.table import ImageTable
from taxonet.errors import DataError
from taxonet.evaluation.judge import Judgement, NoveltyScore, add_novelty
from taxonet.evaluation.novelty_strata import strata_in_order
from taxonet.evaluation.open_set import UnknownPhotos, figures_by_novelty
from taxonet.inference.novelty import FittedNovelty
from taxonet.progress import Progress
from taxonet.registry import FITTED_NOVELTY_SCORES, NOVELTY_SCORES
from taxonet.thresholds import threshold_at_tpr


@dataclass(frozen=True)
class NoveltyScores:
    """What is compared, and what cannot be.

    Attributes:
        scores: By name: those of outputs, then the fitted ones.
        left_out: Name of each other score, with the reason.
    """

    scores: dict[str, NoveltyScore]
    left_out: dict[str, str]


def all_novelty_scores(classifier: TaxonClassifier, folder: Path) -> NoveltyScores:
    """Return every registered score, ready for use; no photo is read.

    Fitted ones have their default options, unless the classifier's own is among them.

    Args:
        classifier: Gives embeddings and logits.
        folder: Where it lies; its index has the embeddings of the training photos.
    """
    found = NoveltyScores(
        {name: partial(_of_outputs, classifier, name) for name in NOVELTY_SCORES.names()}, {}
    )
    if not index_file(folder).is_file():
        reason = "the classifier has no index of training photos, which `taxonet train` writes"
        found.left_out.update(dict.fromkeys(FITTED_NOVELTY_SCORES.names(), reason))
        return found
    index = TrainingIndex(folder, wanted_by="a fitted novelty score").read()
    for name in FITTED_NOVELTY_SCORES.names():
        try:
            found.scores[name] = partial(_of_fitted, classifier, _fitted(classifier, name, index))
        except DataError as error:
            found.left_out[name] = str(error)
    return found


def calibration_novelty(
    classifier: TaxonClassifier,
    table: ImageTable,
    scores: Mapping[str, NoveltyScore],
    *,
    batch_size: int | None = None,
    workers: int = 0,
    shown: bool = False,
) -> dict[str, list[float]]:
    """Return the novelty of photos of known taxa by each score; unreadable ones are left out.

    Args:
        classifier: What is judged.
        table: Calibration photos.
        scores: What they are scored by.
        batch_size: Photos per forward pass; None: as the device is fastest.
        workers: Reading processes.
        shown: Show progress.
    """
    found: dict[str, list[float]] = {name: [] for name in scores}
    photos = ((table.name(row), table.source(row)) for row in range(len(table)))
    with Progress("calibration photos", len(table), shown=shown) as progress:
        for batch in classifier.score(photos, batch_size=batch_size, workers=workers):
            progress.advance(len(batch.names))
            if batch.readable:
                add_novelty(found, batch, scores)
    return found


def novelty_score_figures(
    classifier: TaxonClassifier,
    compared: NoveltyScores,
    *,
    known: Judgement,
    unknown: Sequence[UnknownPhotos],
    calibration: Mapping[str, Sequence[float]],
) -> dict[str, Any]:
    """Return the open-set figures of each score, each with a threshold of its own.

    Args:
        classifier: Its calibration says what share of known photos a threshold accepts.
        compared: The scores.
        known: Test photos of known taxa, judged by these scores.
        unknown: Photos of unknown taxa likewise, at least one that can be read.
        calibration: Novelty of calibration photos by each score; where there is none, thresholds
            and what needs them are left out.
    """
    share = classifier.calibration.known_accepted
    strata = [stratum for one in unknown for stratum in one.strata]
    order = strata_in_order(classifier.taxonomy, strata)
    figures: dict[str, Any] = {}
    for name in compared.scores:
        calibrating = calibration.get(name, ())
        threshold = threshold_at_tpr(calibrating, share) if calibrating else None
        novelty = [value for one in unknown for value in one.judgement.novelty_by[name]]
        figures[name] = {
            "threshold": threshold,
            **figures_by_novelty(
                known.novelty_by[name],
                novelty,
                known_right=known.right,
                strata=strata,
                order=order,
                threshold=threshold,
            ),
        }
    return {
        "known_accepted": share,
        "calibration_images": max((len(one) for one in calibration.values()), default=0),
        "left_out": compared.left_out,
        "scores": figures,
    }


def _fitted(classifier: TaxonClassifier, name: str, index: StoredEmbeddings) -> FittedNovelty:
    own = classifier.parts.novelty
    if own is not None and choice_of(own).name == name:
        return own
    return fit_novelty_score(classifier, name, index=index)


def _of_outputs(classifier: TaxonClassifier, name: str, batch: ScoredBatch) -> Tensor:
    return output_novelty(name, classifier.reading, batch.embedding, batch.logits)


def _of_fitted(classifier: TaxonClassifier, score: FittedNovelty, batch: ScoredBatch) -> Tensor:
    return fitted_novelty(score, classifier.reading, batch.embedding, batch.logits)
