"""Rank-1 accuracy and macro-averaged recall, precision and F1, also by shot group."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taxonet.errors import DataError
from taxonet.metrics.groups import group_members, mean_where_defined

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Tally(Protocol):
    """Test images and hits per class, such as `ConfusionCounts` and `HitCounts`."""

    @property
    def images(self) -> IntArray:
        """Test images of each true class, int64 ``(c,)``."""

    @property
    def hits(self) -> IntArray:
        """How many of them were hits, int64 ``(c,)``."""


class PredictionTally(Tally, Protocol):
    """A tally that also knows how often each class was predicted, such as `ConfusionCounts`."""

    @property
    def predictions(self) -> IntArray:
        """How often each class was predicted, int64 ``(c,)``."""


@dataclass(frozen=True)
class RecallSummary:
    """Recognition quality over a set of classes; what has nothing to average is ``None``.

    The macro averages run over the classes of the set that have test images; the others are
    left out and counted in ``empty_classes``.

    Attributes:
        images: Test images of the classes.
        classes: Classes with test images.
        empty_classes: Classes without test images.
        rank1: Share of images predicted right (R@1), in [0, 1].
        macro_recall: Mean of per-class recall, in [0, 1].
        macro_precision: Mean of per-class precision, in [0, 1].
        macro_f1: Mean of per-class F1, in [0, 1].
    """

    images: int
    classes: int
    empty_classes: int
    rank1: float | None
    macro_recall: float | None
    macro_precision: float | None
    macro_f1: float | None


def accuracy(tally: Tally) -> float | None:
    """Return the share of all images that are hits, ``sum hits / sum images``; None without images.

    Examples:
        >>> from taxonet.metrics import ConfusionCounts
        >>> counts = ConfusionCounts(2)
        >>> counts.update([0, 0, 0, 1], [0, 0, 1, 1])
        >>> accuracy(counts)
        0.75
    """
    images = int(tally.images.sum())
    return int(tally.hits.sum()) / images if images else None


def class_recall(tally: Tally) -> FloatArray:
    """Return the recall of each class, ``hits_k / images_k``, NaN for classes without images.

    Returns:
        float64 ``(c,)`` in [0, 1].

    Examples:
        >>> from taxonet.metrics import ConfusionCounts
        >>> counts = ConfusionCounts(3)
        >>> counts.update([0, 0, 0, 0, 1], [0, 0, 0, 1, 1])
        >>> class_recall(counts).tolist()
        [0.75, 1.0, nan]
    """
    return _quotient(tally.hits, tally.images)


def class_precision(tally: PredictionTally) -> FloatArray:
    """Return the precision of each class, ``hits_k / predictions_k``.

    A class that is never predicted has precision 0. A class without test images has NaN: it is
    left out of the macro average, while its wrong predictions lower nobody's precision.

    Returns:
        float64 ``(c,)`` in [0, 1].

    Examples:
        >>> from taxonet.metrics import ConfusionCounts
        >>> counts = ConfusionCounts(3)
        >>> counts.update([0, 0, 1], [0, 0, 0])
        >>> class_precision(counts).round(3).tolist()
        [0.667, 0.0, nan]
    """
    precision = tally.hits / np.maximum(tally.predictions, 1)
    return np.where(tally.images > 0, precision, np.nan)


def class_f1(tally: PredictionTally) -> FloatArray:
    """Return the F1 of each class, ``2 hits_k / (images_k + predictions_k)``.

    This is the harmonic mean of recall and precision, and 0 where both are 0; NaN for classes
    without test images.

    Returns:
        float64 ``(c,)`` in [0, 1].

    Examples:
        >>> from taxonet.metrics import ConfusionCounts
        >>> counts = ConfusionCounts(3)
        >>> counts.update([0, 0, 1], [0, 0, 0])
        >>> class_f1(counts).tolist()
        [0.8, 0.0, nan]
    """
    f1 = _quotient(2 * tally.hits, tally.images + tally.predictions)
    return np.where(tally.images > 0, f1, np.nan)


def macro_recall(tally: Tally) -> float | None:
    """Return the mean recall of the classes that have test images; None if none has.

    Examples:
        >>> from taxonet.metrics import HitCounts
        >>> top5 = HitCounts(3)
        >>> top5.update([0, 0, 1], [True, False, True])
        >>> macro_recall(top5)
        0.75
    """
    return mean_where_defined(class_recall(tally))


def summarise_recall(
    tally: PredictionTally, *, of: NDArray[np.bool_] | None = None
) -> RecallSummary:
    """Summarise all classes, or those that the mask ``of`` (booleans ``(c,)``) selects.

    The precision of a class counts every prediction of it, also those for images of classes
    outside the mask.

    Examples:
        >>> from taxonet.metrics import ConfusionCounts
        >>> counts = ConfusionCounts(3)
        >>> counts.update([0, 0, 0, 1], [0, 0, 1, 1])
        >>> summary = summarise_recall(counts)
        >>> summary.rank1, summary.classes, summary.empty_classes, summary.macro_precision
        (0.75, 2, 1, 0.75)
    """
    chosen = np.ones(len(tally.images), dtype=bool) if of is None else of
    images = int(tally.images[chosen].sum())
    classes = int(np.count_nonzero(tally.images[chosen]))
    return RecallSummary(
        images=images,
        classes=classes,
        empty_classes=int(np.count_nonzero(chosen)) - classes,
        rank1=int(tally.hits[chosen].sum()) / images if images else None,
        macro_recall=mean_where_defined(class_recall(tally)[chosen]),
        macro_precision=mean_where_defined(class_precision(tally)[chosen]),
        macro_f1=mean_where_defined(class_f1(tally)[chosen]),
    )


def recall_by_group(
    tally: PredictionTally, group_of: Sequence[str], *, order: Sequence[str]
) -> dict[str, RecallSummary]:
    """Summarise each shot group.

    Args:
        tally: Counts over c classes.
        group_of: The group of each class, c names. Shot groups follow from TRAINING counts.
        order: The groups in the order of the result. A group without classes is summarised too.

    Raises:
        DataError: Not exactly one group per class, or a group that ``order`` lacks.

    Examples:
        >>> from taxonet.metrics import ConfusionCounts
        >>> counts = ConfusionCounts(3)
        >>> counts.update([0, 0, 1, 2], [0, 0, 1, 0])
        >>> groups = recall_by_group(counts, ["head", "tail", "tail"], order=["head", "tail", "x"])
        >>> {name: group.macro_recall for name, group in groups.items()}
        {'head': 1.0, 'tail': 0.5, 'x': None}
    """
    members = group_members(group_of, order=order, length=len(tally.images), what="classes")
    return {
        name: summarise_recall(tally, of=mine) for name, mine in zip(order, members, strict=True)
    }


def top_k_hits(ranked: ArrayLike, truth: ArrayLike) -> NDArray[np.bool_]:
    """Say of each image whether its true class is among its k listed classes.

    Args:
        ranked: Integers ``(B, k)``, the k most probable classes of each image, in any order.
        truth: Integers ``(B,)``, true classes.

    Returns:
        Booleans ``(B,)``, ready for `HitCounts.update`.

    Raises:
        DataError: Shapes that do not fit.

    Examples:
        >>> top_k_hits([[3, 1], [0, 2]], [1, 1]).tolist()
        [True, False]
    """
    classes, true_class = np.asarray(ranked), np.asarray(truth)
    if classes.ndim != 2 or true_class.shape != classes.shape[:1]:
        raise DataError(
            f"Expected ranked classes (B, k) and true classes (B,), got {classes.shape} and "
            f"{true_class.shape}."
        )
    return np.asarray((classes == true_class[:, None]).any(axis=1))


def _quotient(part: IntArray, whole: IntArray) -> FloatArray:
    quotient: FloatArray = np.full(len(whole), np.nan)
    np.divide(part, whole, out=quotient, where=whole > 0)
    return quotient
