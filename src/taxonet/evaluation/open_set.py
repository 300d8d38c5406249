"""How well a classifier tells known taxa from unknown ones, over all and by how new they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taxonet.classifier import TaxonClassifier
from taxonet.evaluation.judge import Judgement
from taxonet.evaluation.novelty_strata import strata_in_order
from taxonet.metrics import open_set_metrics, oscr, ranking_metrics

Figures = dict[str, Any]


@dataclass(frozen=True)
class UnknownPhotos:
    """Photos of taxa that the classifier lacks, of one set, as they were judged."""

    judgement: Judgement
    strata: tuple[str, ...]
    """How new each readable one is; see `novelty_strata`."""
    nodes: NDArray[np.int64]
    """The deepest known node above the taxon of each readable one; 0, the root, if nothing is."""


def open_set_figures(
    classifier: TaxonClassifier, known: Judgement, unknown: Sequence[UnknownPhotos]
) -> Figures | None:
    """Return the figures of the classifier's own score, over all and by how new a taxon is.

    Args:
        classifier: Its calibration has the score's name and threshold.
        known: Photos of known taxa.
        unknown: Photos of unknown taxa, of one or more sets.

    Returns:
        None without a threshold, or where no photo of an unknown taxon can be read.
    """
    calibration = classifier.calibration
    novelty = [value for one in unknown for value in one.judgement.novelty]
    if calibration.novelty_threshold is None or not novelty:
        return None
    unreadable = [one.judgement.unreadable for one in unknown]
    strata = [stratum for one in unknown for stratum in one.strata]
    return {
        "score": calibration.novelty_score,
        "threshold": calibration.novelty_threshold,
        "known_images": len(known.novelty),
        "unknown_images": len(novelty),
        "unreadable": {name: why for one in unreadable for name, why in one.items()},
        **figures_by_novelty(
            known.novelty,
            novelty,
            known_right=known.right,
            strata=strata,
            order=strata_in_order(classifier.taxonomy, strata),
            threshold=calibration.novelty_threshold,
        ),
    }


def figures_by_novelty(
    scores_known: Sequence[float],
    scores_unknown: Sequence[float],
    *,
    known_right: NDArray[np.bool_],
    strata: Sequence[str],
    order: Sequence[str],
    threshold: float | None,
) -> Figures:
    """Return the open-set figures of one score over all unknown photos and over each stratum.

    Args:
        scores_known: Novelty of photos of known taxa, ``(N,)``.
        scores_unknown: Novelty of photos of unknown taxa, ``(M,)``, at least one.
        known_right: Whether each known photo is classified right, ``(N,)``, for OSCR.
        strata: How new each unknown photo is, ``(M,)``.
        order: The strata in the order of the result.
        threshold: From calibration photos; without one TPR, TNR and ACC are left out.

    Examples:
        >>> found = figures_by_novelty(
        ...     [1, 2, 3, 6], [4, 5, 7, 8], known_right=np.array([True, True, False, True]),
        ...     strata=["near", "near", "far", "far"], order=["near", "far"], threshold=4,
        ... )
        >>> found["TNR"], found["OSCR"]
        (0.75, 0.625)
        >>> {name: (one["images"], one["TNR"]) for name, one in found["by_novelty"].items()}
        {'near': (2, 0.5), 'far': (2, 1.0)}
    """
    scores, stratum_of = np.asarray(scores_unknown), np.asarray(strata)

    def figures(unknown: NDArray[np.float64]) -> Figures:
        found = (
            ranking_metrics(scores_known, unknown)
            if threshold is None
            else open_set_metrics(scores_known, unknown, threshold=threshold)
        )
        return {**found, "OSCR": oscr(scores_known, unknown, known_right=known_right)}

    parts = {stratum: scores[stratum_of == stratum] for stratum in order}
    by_novelty = {name: {"images": len(part), **figures(part)} for name, part in parts.items()}
    return {**figures(scores), "by_novelty": by_novelty}
