"""How well a novelty score tells known taxa from unknown ones.

Scores are oriented so that higher is more novel. An image is accepted as known if and only if
its score is at most the threshold. Known is the positive class throughout.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from taxonet.errors import DataError
from taxonet.thresholds import FloatArray, novelty_row, threshold_at_tpr


@dataclass(frozen=True)
class OpenSetMetrics:
    """Acceptance at one threshold, and the quality of the score at all thresholds.

    Attributes:
        tpr: Share of known images that are accepted, in [0, 1].
        tnr: Share of unknown images that are rejected, in [0, 1].
        acc: ``(tpr + tnr) / 2``, the open-set accuracy.
        auroc: Probability that a random known image scores lower than a random unknown one;
            ties count half.
        aupr: Average precision with the known images as positives, lowest scores first.
        fpr_at_95: Share of unknown images accepted at the threshold where 95 % of the given
            known images are accepted (not at ``threshold``).
    """

    tpr: float
    tnr: float
    acc: float
    auroc: float
    aupr: float
    fpr_at_95: float


def open_set_metrics(known: ArrayLike, unknown: ArrayLike, *, threshold: float) -> OpenSetMetrics:
    """Judge a novelty score on known and unknown test images.

    Args:
        known: Floats ``(N,)``, scores of images of known taxa; higher is more novel.
        unknown: Floats ``(M,)``, scores of images of unknown taxa.
        threshold: Accept if and only if the score is at most this. It belongs to other images
            than these: choose it with `threshold_at_tpr` on known calibration images.

    Raises:
        DataError: No scores on one of the sides, or NaN among them.

    Examples:
        >>> result = open_set_metrics([1, 2, 3, 6], [4, 5, 7, 8], threshold=4)
        >>> result.tpr, result.tnr, result.acc, result.auroc, result.fpr_at_95
        (0.75, 0.75, 0.75, 0.875, 0.5)
        >>> round(result.aupr, 4)  # precision 1, 1, 1 and 4/6 at the four known images
        0.9167
    """
    accept, reject = novelty_row(known, "known"), novelty_row(unknown, "unknown")
    tpr = float((accept <= threshold).mean())
    tnr = float((reject > threshold).mean())
    own_threshold = threshold_at_tpr(accept, 0.95)
    return OpenSetMetrics(
        tpr=tpr,
        tnr=tnr,
        acc=(tpr + tnr) / 2,
        auroc=_pairs_in_order(accept, reject) / (len(accept) * len(reject)),
        aupr=_average_precision(accept, reject),
        fpr_at_95=float((reject <= own_threshold).mean()),
    )


def oscr(known: ArrayLike, unknown: ArrayLike, *, known_right: ArrayLike) -> float:
    """Return the open-set classification rate (OSCR), accepting and naming in one figure.

    It is the area under the curve of the share of known images that are accepted AND classified
    right, over the share of unknown images accepted, as the threshold moves; ties count half.
    With every known image right it equals the AUROC; it never exceeds the closed-set accuracy.

    Args:
        known: Floats ``(N,)``, scores of images of known taxa; higher is more novel.
        unknown: Floats ``(M,)``, scores of images of unknown taxa.
        known_right: Booleans ``(N,)``, whether each known image is classified right.

    Raises:
        DataError: No scores on one of the sides, NaN among them, or lengths that differ.

    Reference:
        Dhamija et al., Reducing Network Agnostophobia, arXiv 1811.04110.

    Examples:
        >>> oscr([1, 2, 3, 6], [4, 5, 7, 8], known_right=[True, True, False, True])
        0.625
    """
    accept, reject = novelty_row(known, "known"), novelty_row(unknown, "unknown")
    right = np.asarray(known_right, dtype=bool)
    if right.shape != accept.shape:
        raise DataError(f"Expected known_right of shape {accept.shape}, got {right.shape}.")
    return _pairs_in_order(accept[right], reject) / (len(accept) * len(reject))


def _pairs_in_order(known: FloatArray, unknown: FloatArray) -> float:
    """Count the pairs of which the known image scores lower; ties count half."""
    ordered = np.sort(unknown)
    lower = np.searchsorted(ordered, known, side="left")
    lower_or_equal = np.searchsorted(ordered, known, side="right")
    return float(2 * known.size * unknown.size - lower.sum() - lower_or_equal.sum()) / 2


def _average_precision(known: FloatArray, unknown: FloatArray) -> float:
    """Sum precision times gained recall over the distinct thresholds, lowest first."""
    thresholds, gained = np.unique(known, return_counts=True)
    accepted_known = np.cumsum(gained)
    accepted_unknown = np.searchsorted(np.sort(unknown), thresholds, side="right")
    precision = accepted_known / (accepted_known + accepted_unknown)
    return float((precision * gained).sum() / known.size)
