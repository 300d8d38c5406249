"""Where to draw the line between known and novel: a threshold on novelty scores. NumPy only.

It stands on a low floor since the rooms that score novelty, judge it and calibrate it share it.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taxonet.errors import DataError

FloatArray = NDArray[np.float64]


def threshold_at_tpr(scores_known: ArrayLike, tpr: float = 0.95) -> float:
    """Return the smallest observed score with at least a share ``tpr`` at or below it.

    Nothing is interpolated, so that accepting every score up to the threshold accepts at least
    that share of the given images; with ties it may accept more.

    Args:
        scores_known: Floats ``(N,)``, novelty scores of known images; higher is more novel.
        tpr: True positive rate to reach, in (0, 1].

    Raises:
        DataError: No scores, NaN among them, or a rate outside (0, 1].

    Examples:
        >>> threshold_at_tpr([0.1, 0.4, 0.2, 0.3], tpr=0.75)
        0.3
        >>> threshold_at_tpr([0.1, 0.4, 0.2, 0.3], tpr=0.76)
        0.4
    """
    scores = novelty_row(scores_known, "known")
    if not 0 < tpr <= 1:
        raise DataError(f"Expected a true positive rate in (0, 1], got {tpr}.")
    n = len(scores)
    accepted = int(np.ceil(tpr * n))
    # The product may round up past a whole number: 0.07 * 100 is 7.000000000000001.
    if (accepted - 1) / n >= tpr:
        accepted -= 1
    return float(np.partition(scores, accepted - 1)[accepted - 1])


def novelty_row(values: ArrayLike, side: str) -> FloatArray:
    """Return novelty scores as one row of float64, or say what is wrong with them.

    Args:
        values: Floats ``(N,)``, at least one.
        side: Whose they are, for messages: ``"known"`` or ``"unknown"``.

    Raises:
        DataError: No scores, not one row, or NaN among them.
    """
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or scores.size == 0:
        raise DataError(
            f"Expected the novelty scores of at least one {side} image as one row, got shape "
            f"{scores.shape}."
        )
    if np.isnan(scores).any():
        row = int(np.flatnonzero(np.isnan(scores))[0])
        raise DataError(f"The novelty score of {side} image {row} is NaN; it cannot be ranked.")
    return scores
