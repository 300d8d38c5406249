"""Whether a stated probability of 0.8 is right eight times in ten."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taxonet.errors import DataError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ReliabilityCurve:
    """Stated against found accuracy in M equal-width bins of the stated probability.

    Bin m holds the probabilities in ``((m-1)/M, m/M]``; 0 belongs to the first bin.

    Attributes:
        edges_prob: float64 ``(M + 1,)``, from 0 to 1.
        images: int64 ``(M,)``, images in each bin.
        mean_prob: float64 ``(M,)``, mean stated probability, NaN in empty bins.
        accuracy: float64 ``(M,)``, share of right predictions, NaN in empty bins.
    """

    edges_prob: FloatArray
    images: IntArray
    mean_prob: FloatArray
    accuracy: FloatArray


def reliability_curve(probs: ArrayLike, right: ArrayLike, *, bins: int = 15) -> ReliabilityCurve:
    """Compare stated probabilities with how often the predictions were right.

    Args:
        probs: Floats ``(N,)`` in [0, 1], the stated probability of each predicted taxon.
        right: Booleans ``(N,)``, whether each prediction was right.
        bins: Number of bins M, at least 1.

    Raises:
        DataError: Shapes that differ, probabilities outside [0, 1], or no bin.

    Examples:
        >>> curve = reliability_curve([0.2, 0.4, 0.9, 1.0], [False, True, True, True], bins=2)
        >>> curve.images.tolist(), curve.accuracy.tolist(), curve.mean_prob.round(3).tolist()
        ([2, 2], [0.5, 1.0], [0.3, 0.95])
    """
    stated, is_right = np.asarray(probs, dtype=np.float64), np.asarray(right, dtype=bool)
    if stated.ndim != 1 or stated.shape != is_right.shape:
        raise DataError(
            f"Expected probabilities and right as two rows of one length, got {stated.shape} "
            f"and {is_right.shape}."
        )
    if not np.all((stated >= 0) & (stated <= 1)):
        raise DataError("Expected probabilities in [0, 1], got values outside (or NaN).")
    if bins < 1:
        raise DataError(f"Expected at least one bin, got {bins}.")
    edges = np.linspace(0, 1, bins + 1)
    bin_of = np.maximum(np.searchsorted(edges, stated, side="left") - 1, 0)
    images = np.bincount(bin_of, minlength=bins).astype(np.int64)
    return ReliabilityCurve(
        edges_prob=edges,
        images=images,
        mean_prob=_bin_means(bin_of, stated, images),
        accuracy=_bin_means(bin_of, is_right.astype(np.float64), images),
    )


def expected_calibration_error(curve: ReliabilityCurve) -> float | None:
    """Return the expected calibration error of a reliability curve; None without images.

    ``ECE = sum_m (n_m / N) |accuracy_m - mean_prob_m|`` over the bins m with ``n_m`` images.

    Returns:
        A value in [0, 1]; 0 is perfect.

    Reference:
        Guo et al., On Calibration of Modern Neural Networks, arXiv 1706.04599, eq. 3.

    Examples:
        >>> curve = reliability_curve([0.2, 0.4, 0.9, 1.0], [False, True, True, True], bins=2)
        >>> round(expected_calibration_error(curve), 3)  # (0.2 * 2 + 0.05 * 2) / 4
        0.125
    """
    total = int(curve.images.sum())
    if total == 0:
        return None
    gap = np.abs(curve.accuracy - curve.mean_prob)
    return float(np.nansum(curve.images * gap) / total)


def _bin_means(bin_of: IntArray, values: FloatArray, images: IntArray) -> FloatArray:
    means: FloatArray = np.full(len(images), np.nan)
    sums = np.bincount(bin_of, weights=values, minlength=len(images))
    np.divide(sums, images, out=means, where=images > 0)
    return means
