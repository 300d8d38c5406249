"""How well classes are separated: Fisher's criterion along the best direction of each pair."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taxonet.errors import DataError
from taxonet.metrics.counts import class_indices
from taxonet.metrics.vectors import finite_matrix

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _ClassStatistics:
    """The mean ``(d,)`` of a class, and a factor ``(min(n, d), d)``: ``factor^T factor = S``."""

    mean: FloatArray
    factor: FloatArray


def fisher_separability(
    embeddings: ArrayLike, targets: ArrayLike, *, n_classes: int, shrinkage: float = 0.01
) -> FloatArray:
    r"""Return the mean Fisher criterion of each class against the other classes.

    For the classes i and j, the projection ``w = (S_i + S_j)^-1 (mu_i - mu_j)`` of linear
    discriminant analysis maximises ``J = (w mu_i - w mu_j)^2 / (w S_i w + w S_j w)``, and the
    maximum is ``J_ij = (mu_i - mu_j) (S_i + S_j)^-1 (mu_i - mu_j)``; the separability of class i
    is the mean of ``J_ij`` over the other classes. ``S_k`` is the unbiased covariance.

    With fewer images than features the covariance is singular and J infinite, whatever the
    embeddings; so ``S = S_i + S_j`` is shrunk to ``(1 - a) S + a (tr S / d) I`` first. Classes of
    fewer than two images have no variance: they are NaN, and no part of another class's mean. J is
    infinite where it should be, between classes whose images all lie on two points.

    The memory is O(sum_k min(n_k, d) d), never more than a copy of the embeddings in float64; the
    time is one singular value decomposition of at most 2d rows for each of the pairs of classes,
    which is meant for hundreds of classes.

    Args:
        embeddings: Floats ``(N, d)``.
        targets: Integers ``(N,)``, the class of each embedding.
        n_classes: The number c of classes.
        shrinkage: The share a of the round covariance, in [0, 1]. 0 is the criterion as printed.

    Returns:
        float64 ``(c,)``, at least 0; larger is better separated.

    Raises:
        DataError: Shapes that do not fit, values that are not finite, a class out of range, or a
            shrinkage outside [0, 1].

    Reference:
        Difficulty-aware Balancing Margin Loss for Long-tailed Recognition, eq. 12 and 13.

    Examples:
        >>> line = [[-1.0], [1.0], [3.0], [5.0], [9.0]]  # variances 2 and 2, means 0 and 4
        >>> fisher_separability(line, [0, 0, 1, 1, 2], n_classes=3).round(6).tolist()
        [4.0, 4.0, nan]
    """
    rows = finite_matrix(embeddings, "embeddings")
    true_class = class_indices(targets, n_classes, lowest=0, what="targets")
    if len(true_class) != len(rows):
        raise DataError(
            f"Expected embeddings (N, d) and targets (N,), got {rows.shape} and {true_class.shape}."
        )
    if not 0 <= shrinkage <= 1:
        raise DataError(f"Expected a shrinkage in [0, 1], got {shrinkage}.")
    known = {
        k: _statistics(rows[true_class == k].astype(np.float64))
        for k in np.flatnonzero(np.bincount(true_class, minlength=n_classes) > 1).tolist()
    }
    sums: FloatArray = np.zeros(n_classes)
    for i, j in combinations(known, 2):
        criterion = _criterion(known[i], known[j], shrinkage=shrinkage)
        sums[i] += criterion
        sums[j] += criterion
    separability: FloatArray = np.full(n_classes, np.nan)
    if len(known) > 1:
        separability[list(known)] = sums[list(known)] / (len(known) - 1)
    return separability


def _statistics(images: FloatArray) -> _ClassStatistics:
    mean = images.mean(axis=0)
    factor = (images - mean) / np.sqrt(len(images) - 1)
    if factor.shape[0] > factor.shape[1]:
        factor = np.linalg.qr(factor, mode="r")
    return _ClassStatistics(mean, factor)


def _criterion(one: _ClassStatistics, other: _ClassStatistics, *, shrinkage: float) -> float:
    difference = one.mean - other.mean
    distance = float(np.linalg.norm(difference))
    if distance == 0:
        return 0.0
    factor = np.concatenate([one.factor, other.factor])  # (m, d)
    _, spreads, axes = np.linalg.svd(factor, full_matrices=False)
    spans = spreads > max(factor.shape) * np.finfo(np.float64).eps * spreads[0]
    spreads, axes = spreads[spans], axes[spans]  # the axes along which images vary at all
    along = axes @ difference
    round_variance = shrinkage * float((spreads**2).sum()) / len(difference)
    criterion = float((along**2 / ((1 - shrinkage) * spreads**2 + round_variance)).sum())
    # Across those axes there is the round variance alone.
    across = float(np.linalg.norm(difference - axes.T @ along))
    if len(spreads) == len(difference) or across <= 1e-12 * distance:
        return criterion
    return criterion + across**2 / round_variance if round_variance > 0 else float("inf")
