"""By how much the true class wins: the margin of its score over the best other one."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taxonet.errors import DataError
from taxonet.metrics.counts import class_indices
from taxonet.metrics.groups import class_means
from taxonet.metrics.vectors import finite_matrix

FloatArray = NDArray[np.float64]


def score_margins(scores: ArrayLike, targets: ArrayLike) -> FloatArray:
    """Return the margin of each image: ``z_y - max_{k != y} z_k``, below 0 where it is wrong.

    It is in the unit of the scores. Judge a large set batch by batch and keep the margins alone.

    Args:
        scores: Floats ``(B, c)`` of c >= 2 classes: logits, cosines or probabilities.
        targets: Integers ``(B,)``, true classes.

    Returns:
        float64 ``(B,)``.

    Raises:
        DataError: Shapes that do not fit, one class alone, scores that are not finite, or a class
            out of range.

    Examples:
        >>> score_margins([[5.0, 2.0, 1.0], [4.0, 1.0, 0.0]], [0, 1]).tolist()
        [3.0, -3.0]
    """
    rows = finite_matrix(scores, "scores").astype(np.float64)  # a copy, changed below
    if rows.shape[1] < 2:
        raise DataError("A margin needs the scores of at least 2 classes, got one.")
    true_class = class_indices(targets, rows.shape[1], lowest=0, what="targets")
    if len(true_class) != len(rows):
        raise DataError(
            f"Expected scores (B, c) and targets (B,), got {rows.shape} and {true_class.shape}."
        )
    images = np.arange(len(rows))
    own = rows[images, true_class]
    rows[images, true_class] = -np.inf
    return np.asarray(own - rows.max(axis=1))


def class_margins(scores: ArrayLike, targets: ArrayLike) -> FloatArray:
    """Return the mean margin of the images of each class, NaN for classes without images.

    The paper plots "the average margin of each class" and prints no formula; this is the mean of
    `score_margins`, where its arguments are described.

    Returns:
        float64 ``(c,)``.

    Reference:
        Semantic Transfer from Head to Tail (SMART), Figure 4b.

    Examples:
        >>> class_margins([[5.0, 2.0, 1.0], [4.0, 1.0, 0.0], [3.0, 2.0, 2.0]], [0, 1, 0]).tolist()
        [2.0, -3.0, nan]
    """
    return class_means(score_margins(scores, targets), targets, n_classes=np.shape(scores)[1])
