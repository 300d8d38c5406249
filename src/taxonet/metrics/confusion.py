"""The pairs of classes that are taken for each other most often, inside and across genera."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taxonet.errors import DataError
from taxonet.metrics.counts import ConfusionCounts, PairCounts


@dataclass(frozen=True)
class ConfusedPair:
    """Images of one class that were predicted as another.

    Attributes:
        truth: The true class.
        predicted: The class it was taken for.
        images: How many images of ``truth`` were predicted as ``predicted``.
        share: The same as a share of all test images of ``truth``, in (0, 1].
    """

    truth: int
    predicted: int
    images: int
    share: float


@dataclass(frozen=True)
class MostConfused:
    """The most confused pairs, most images first.

    Attributes:
        inside: Pairs of one genus.
        across: Pairs of two genera, and pairs of which a class has no genus.
    """

    inside: tuple[ConfusedPair, ...]
    across: tuple[ConfusedPair, ...]


def most_confused(counts: ConfusionCounts, *, k: int, genus_of: ArrayLike) -> MostConfused:
    """Return the k most confused pairs inside a genus, and the k most confused across genera.

    Pairs are directed (truth, prediction): "A taken for B" and "B taken for A" are two pairs,
    since rare species are mostly taken for common ones and hardly ever the reverse. Ties go to
    the lower true class, then to the lower predicted class.

    Args:
        counts: Counts over c classes.
        k: How many pairs of each kind to return at most; fewer where fewer occurred.
        genus_of: Integers ``(c,)``, the genus of each class by any index, -1 where it has none.

    Raises:
        DataError: Not exactly one genus per class, or k below 1.

    Examples:
        >>> counts = ConfusionCounts(3)
        >>> counts.update([0, 0, 0, 1, 2, 2], [1, 1, 0, 1, 0, 2])
        >>> found = most_confused(counts, k=5, genus_of=[7, 7, 8])
        >>> found.inside
        (ConfusedPair(truth=0, predicted=1, images=2, share=0.6666666666666666),)
        >>> found.across
        (ConfusedPair(truth=2, predicted=0, images=1, share=0.5),)
    """
    genus = np.asarray(genus_of)
    if genus.shape != (counts.n_classes,):
        raise DataError(
            f"Expected one genus for each of {counts.n_classes} classes, got shape {genus.shape}."
        )
    if k < 1:
        raise DataError(f"Expected k of at least 1, got {k}.")
    pairs = counts.pairs()
    wrong = pairs.truth != pairs.predicted
    same = (genus[pairs.truth] == genus[pairs.predicted]) & (genus[pairs.truth] >= 0)
    return MostConfused(
        inside=_largest(counts, pairs, chosen=wrong & same, k=k),
        across=_largest(counts, pairs, chosen=wrong & ~same, k=k),
    )


def _largest(
    counts: ConfusionCounts, pairs: PairCounts, *, chosen: NDArray[np.bool_], k: int
) -> tuple[ConfusedPair, ...]:
    candidates = np.flatnonzero(chosen)
    # The pairs are ascending, so a stable sort leaves ties in the promised order.
    order = np.argsort(-pairs.images[candidates], kind="stable")[:k]
    return tuple(
        ConfusedPair(
            truth=int(pairs.truth[i]),
            predicted=int(pairs.predicted[i]),
            images=int(pairs.images[i]),
            share=int(pairs.images[i]) / int(counts.images[pairs.truth[i]]),
        )
        for i in candidates[order]
    )
