"""What an evaluation remembers of each image: tallies per class and sparse pair counts."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taxonet.errors import DataError

IntArray = NDArray[np.int64]

NO_CLASS = -1  # a prediction that names no class
_SMALLEST_BUFFER = 1 << 16  # pairs that wait before they are sorted into the counts


class PairCounts(NamedTuple):
    """Every (true class, predicted class) pair that occurred, ascending, and how often."""

    truth: IntArray
    predicted: IntArray
    images: IntArray


class HitCounts:
    r"""Test images and hits per class, for any notion of a hit (top-5, right genus, ...).

    The state is two integers per class, whatever the number of images.

    Args:
        n_classes: Number of classes; class indices are ``0 .. n_classes - 1``.

    Attributes:
        images: int64 ``(n_classes,)``, test images of each true class.
        hits: int64 ``(n_classes,)``, how many of them were hits.

    Examples:
        >>> counts = HitCounts(3)
        >>> counts.update([0, 0, 2], [True, False, True])
        >>> counts.images.tolist(), counts.hits.tolist()
        ([2, 0, 1], [1, 0, 1])
    """

    def __init__(self, n_classes: int) -> None:
        if n_classes < 1:
            raise DataError(f"Counting needs at least one class, got n_classes = {n_classes}.")
        self.n_classes = n_classes
        self.images: IntArray = np.zeros(n_classes, dtype=np.int64)
        self.hits: IntArray = np.zeros(n_classes, dtype=np.int64)

    def update(self, truth: ArrayLike, hit: ArrayLike) -> None:
        """Add a batch.

        Args:
            truth: Integers ``(B,)``, true classes.
            hit: Booleans ``(B,)``, whether each image was a hit.

        Raises:
            DataError: Lengths that differ, or a class index out of range.
        """
        true_class = class_indices(truth, self.n_classes, lowest=0, what="true classes")
        is_hit = np.asarray(hit, dtype=bool)
        _same_length(true_class, is_hit)
        self.images += np.bincount(true_class, minlength=self.n_classes)
        self.hits += np.bincount(true_class[is_hit], minlength=self.n_classes)


class ConfusionCounts:
    r"""A confusion matrix kept as tallies per class and counts of the pairs that occurred.

    No ``n_classes x n_classes`` array exists: the state is three integers per class and one
    entry per distinct pair, of which there are at most as many as images.

    Args:
        n_classes: Number of classes; class indices are ``0 .. n_classes - 1``.

    Attributes:
        images: int64 ``(n_classes,)``, test images of each true class.
        hits: int64 ``(n_classes,)``, how many of them were predicted right.
        predictions: int64 ``(n_classes,)``, how often each class was predicted.

    Examples:
        >>> counts = ConfusionCounts(3)
        >>> counts.update([0, 0, 1, 1], [0, 2, 1, 2])
        >>> counts.update([0], [2])
        >>> counts.images.tolist(), counts.hits.tolist(), counts.predictions.tolist()
        ([3, 2, 0], [1, 1, 0], [1, 1, 3])
        >>> [tuple(map(int, pair)) for pair in zip(*counts.pairs())]
        [(0, 0, 1), (0, 2, 2), (1, 1, 1), (1, 2, 1)]
    """

    def __init__(self, n_classes: int) -> None:
        self._tally = HitCounts(n_classes)
        self.n_classes = n_classes
        self.predictions: IntArray = np.zeros(n_classes, dtype=np.int64)
        self._keys: IntArray = np.empty(0, dtype=np.int64)  # truth * n_classes + predicted
        self._counts: IntArray = np.empty(0, dtype=np.int64)
        self._waiting: list[IntArray] = []
        self._n_waiting = 0

    @property
    def images(self) -> IntArray:
        """Test images of each true class, int64 ``(n_classes,)``."""
        return self._tally.images

    @property
    def hits(self) -> IntArray:
        """Rightly predicted images of each true class, int64 ``(n_classes,)``."""
        return self._tally.hits

    def update(self, truth: ArrayLike, predicted: ArrayLike) -> None:
        """Add a batch.

        Args:
            truth: Integers ``(B,)``, true classes.
            predicted: Integers ``(B,)``, predicted classes; -1 names no class and is a miss.

        Raises:
            DataError: Lengths that differ, or a class index out of range.
        """
        true_class = class_indices(truth, self.n_classes, lowest=0, what="true classes")
        named = class_indices(predicted, self.n_classes, lowest=NO_CLASS, what="predicted classes")
        _same_length(true_class, named)
        self._tally.update(true_class, true_class == named)
        true_class, named = true_class[named != NO_CLASS], named[named != NO_CLASS]
        self.predictions += np.bincount(named, minlength=self.n_classes)
        self._waiting.append(true_class * self.n_classes + named)
        self._n_waiting += len(named)
        # Waiting until the buffer is as long as the counts keeps the total cost O(N log N).
        if self._n_waiting >= max(_SMALLEST_BUFFER, len(self._keys)):
            self._sort_in()

    def pairs(self) -> PairCounts:
        """Return the pairs that occurred, right ones included, ascending by truth."""
        self._sort_in()
        truth, predicted = np.divmod(self._keys, self.n_classes)
        return PairCounts(truth, predicted, self._counts.copy())

    def _sort_in(self) -> None:
        keys = np.concatenate([self._keys, *self._waiting])
        weights = np.concatenate([self._counts, np.ones(self._n_waiting, dtype=np.int64)])
        self._keys, slot = np.unique(keys, return_inverse=True)
        self._counts = np.zeros(len(self._keys), dtype=np.int64)
        np.add.at(self._counts, slot, weights)
        self._waiting, self._n_waiting = [], 0


def class_indices(values: ArrayLike, n_classes: int, *, lowest: int, what: str) -> IntArray:
    """Return class indices as int64 ``(B,)``, or say what is wrong with them.

    Raises:
        DataError: Not one row of integers, or an index outside ``lowest .. n_classes - 1``.
    """
    array = np.asarray(values)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DataError(
            f"Expected {what} as one row of integers, got {array.dtype} of shape {array.shape}."
        )
    outside = np.flatnonzero((array < lowest) | (array >= n_classes))
    if outside.size:
        raise DataError(
            f"Expected {what} from {lowest} to {n_classes - 1}, got {array[outside[0]]} in row "
            f"{outside[0]} ({outside.size} rows are outside)."
        )
    return array.astype(np.int64)


def _same_length(truth: NDArray[np.generic], other: NDArray[np.generic]) -> None:
    if truth.shape != other.shape:
        raise DataError(
            f"Expected one prediction per true class, got {other.shape} for {truth.shape}."
        )
