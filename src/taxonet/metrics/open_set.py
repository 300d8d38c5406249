"""How well a novelty score tells known taxa from unknown ones.

Scores are oriented so that higher is more novel. An image is accepted as known if and only if
its score is at most the threshold. Known is the positive class throughout.
"""

import numpy as np
from numpy.typing import ArrayLike

from taxonet.errors import DataError
from taxonet.thresholds import FloatArray, novelty_row, threshold_at_tpr


def open_set_metrics(
    scores_known: ArrayLike, scores_unknown: ArrayLike, *, threshold: float
) -> dict[str, float]:
    """Judge a novelty score on known and unknown test images, at one threshold and at all.

    - ``TPR``: share of known images that are accepted;
    - ``TNR``: share of unknown images that are rejected;
    - ``ACC``: ``(TPR + TNR) / 2``, the open-set accuracy;
    - ``AUROC``, ``AUPR``, ``FPR@95``: see `ranking_metrics`; they do not depend on the threshold.

    Args:
        scores_known: Floats ``(N,)``, scores of images of known taxa; higher is more novel.
        scores_unknown: Floats ``(M,)``, scores of images of unknown taxa.
        threshold: Accept if and only if the score is at most this. It belongs to other images
            than these: choose it with `threshold_at_tpr` on known calibration images.

    Returns:
        Shares in [0, 1] under the keys above.

    Raises:
        DataError: No scores on one of the sides, or NaN among them.

    Reference:
        TaxoNet, Table 3, for TPR, TNR and their mean.

    Examples:
        >>> found = open_set_metrics([1, 2, 3, 6], [4, 5, 7, 8], threshold=4)
        >>> found["TPR"], found["TNR"], found["ACC"], found["AUROC"], found["FPR@95"]
        (0.75, 0.75, 0.75, 0.875, 0.5)
    """
    known, unknown = novelty_row(scores_known, "known"), novelty_row(scores_unknown, "unknown")
    tpr = float((known <= threshold).mean())
    tnr = float((unknown > threshold).mean())
    return {"TPR": tpr, "TNR": tnr, "ACC": (tpr + tnr) / 2, **ranking_metrics(known, unknown)}


def ranking_metrics(scores_known: ArrayLike, scores_unknown: ArrayLike) -> dict[str, float]:
    """Judge a novelty score on known and unknown test images, where there is no threshold.

    - ``AUROC``: probability that a random known image scores lower than a random unknown one;
      ties count half;
    - ``AUPR``: average precision with the known images as positives, lowest scores first;
    - ``FPR@95``: share of unknown images accepted at the threshold where 95 % of the given known
      images are accepted.

    Args:
        scores_known: Floats ``(N,)``, scores of images of known taxa; higher is more novel.
        scores_unknown: Floats ``(M,)``, scores of images of unknown taxa.

    Returns:
        Shares in [0, 1] under the keys above.

    Raises:
        DataError: No scores on one of the sides, or NaN among them.

    Examples:
        >>> found = ranking_metrics([1, 2, 3, 6], [4, 5, 7, 8])
        >>> round(found["AUPR"], 4)  # precision 1, 1, 1 and 4/6 at the four known images
        0.9167
    """
    known, unknown = novelty_row(scores_known, "known"), novelty_row(scores_unknown, "unknown")
    own_threshold = threshold_at_tpr(known, 0.95)
    return {
        "AUROC": _pairs_in_order(known, unknown) / (len(known) * len(unknown)),
        "AUPR": _average_precision(known, unknown),
        "FPR@95": float((unknown <= own_threshold).mean()),
    }


def oscr(scores_known: ArrayLike, scores_unknown: ArrayLike, *, known_right: ArrayLike) -> float:
    """Return the open-set classification rate (OSCR), accepting and naming in one figure.

    It is the area under the curve of the share of known images that are accepted AND classified
    right, over the share of unknown images accepted, as the threshold moves; ties count half.
    With every known image right it equals the AUROC; it never exceeds the closed-set accuracy.

    Args:
        scores_known: Floats ``(N,)``, scores of images of known taxa; higher is more novel.
        scores_unknown: Floats ``(M,)``, scores of images of unknown taxa.
        known_right: Booleans ``(N,)``, whether each known image is classified right.

    Raises:
        DataError: No scores on one of the sides, NaN among them, or lengths that differ.

    Reference:
        Dhamija et al., Reducing Network Agnostophobia, arXiv 1811.04110.

    Examples:
        >>> oscr([1, 2, 3, 6], [4, 5, 7, 8], known_right=[True, True, False, True])
        0.625
    """
    known, unknown = novelty_row(scores_known, "known"), novelty_row(scores_unknown, "unknown")
    right = np.asarray(known_right, dtype=bool)
    if right.shape != known.shape:
        raise DataError(f"Expected known_right of shape {known.shape}, got {right.shape}.")
    return _pairs_in_order(known[right], unknown) / (len(known) * len(unknown))


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
