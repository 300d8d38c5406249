"""Whether a stated probability of 0.8 is right eight times in ten."""

from dataclasses import dataclass
from typing import Self

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


class ReliabilityCounts:
    """What a reliability curve is made from, gathered batch by batch: three numbers a bin.

    Args:
        bins: Number of equal-width bins M of the stated probability, at least 1.

    Raises:
        DataError: No bin.

    Examples:
        >>> counts = ReliabilityCounts(bins=2)
        >>> counts.update([0.2, 0.4], [False, True])
        >>> counts.update([0.9, 1.0], [True, True])
        >>> curve = counts.compute()
        >>> curve.images.tolist(), curve.accuracy.tolist(), curve.mean_prob.round(3).tolist()
        ([2, 2], [0.5, 1.0], [0.3, 0.95])
    """

    def __init__(self, *, bins: int = 15) -> None:
        if bins < 1:
            raise DataError(f"Expected at least one bin, got {bins}.")
        self._edges = np.linspace(0, 1, bins + 1)
        self._images = np.zeros(bins, dtype=np.int64)
        self._right = np.zeros(bins, dtype=np.int64)
        self._prob = np.zeros(bins)

    def update(self, probs: ArrayLike, right: ArrayLike) -> None:
        """Add a batch. A batch that is refused leaves the counts as they were.

        Args:
            probs: Floats ``(B,)`` in [0, 1], the stated probability of each predicted taxon.
            right: Booleans ``(B,)``, whether each prediction was right.

        Raises:
            DataError: Shapes that differ, or probabilities outside [0, 1].
        """
        stated, is_right = np.asarray(probs, dtype=np.float64), np.asarray(right, dtype=bool)
        if stated.ndim != 1 or stated.shape != is_right.shape:
            raise DataError(
                f"Expected probabilities and right as two rows of one length, got {stated.shape} "
                f"and {is_right.shape}."
            )
        if not np.all((stated >= 0) & (stated <= 1)):
            raise DataError("Expected probabilities in [0, 1], got values outside (or NaN).")
        bins = len(self._images)
        bin_of = np.maximum(np.searchsorted(self._edges, stated, side="left") - 1, 0)
        self._images += np.bincount(bin_of, minlength=bins)
        self._right += np.bincount(bin_of[is_right], minlength=bins)
        self._prob += np.bincount(bin_of, weights=stated, minlength=bins)

    def merge(self, other: Self) -> None:
        """Add all images of other counts.

        Raises:
            DataError: Another number of bins.
        """
        if len(self._images) != len(other._images):
            raise DataError(
                f"Counts of {len(self._images)} and of {len(other._images)} bins do not merge."
            )
        self._images += other._images
        self._right += other._right
        self._prob += other._prob

    def compute(self) -> ReliabilityCurve:
        """Return the curve of all images so far; without images every bin is empty."""
        return ReliabilityCurve(
            edges_prob=self._edges.copy(),
            images=self._images.copy(),
            mean_prob=self._means(self._prob),
            accuracy=self._means(self._right),
        )

    def _means(self, sums: FloatArray | IntArray) -> FloatArray:
        means: FloatArray = np.full(len(sums), np.nan)
        np.divide(sums, self._images, out=means, where=self._images > 0)
        return means


def reliability_curve(probs: ArrayLike, right: ArrayLike, *, bins: int = 15) -> ReliabilityCurve:
    """Compare stated probabilities with how often the predictions were right, all at once.

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
    counts = ReliabilityCounts(bins=bins)
    counts.update(probs, right)
    return counts.compute()


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
