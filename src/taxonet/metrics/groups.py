"""Means over the images of a class, and over the classes or images of a shot group."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taxonet.errors import DataError
from taxonet.metrics.counts import class_indices

FloatArray = NDArray[np.float64]


def class_means(values: ArrayLike, targets: ArrayLike, *, n_classes: int) -> FloatArray:
    """Return the mean of a figure over the images of each class, NaN for classes without images.

    Images without the figure (NaN) are left out.

    Args:
        values: Floats ``(N,)``, one of each image.
        targets: Integers ``(N,)``, true classes.
        n_classes: The number c of classes.

    Returns:
        float64 ``(c,)``.

    Raises:
        DataError: Shapes that do not fit, or a class out of range.

    Examples:
        >>> class_means([1.0, 3.0, 5.0], [0, 0, 2], n_classes=3).tolist()
        [2.0, nan, 5.0]
    """
    figures = np.asarray(values, dtype=np.float64)
    true_class = class_indices(targets, n_classes, lowest=0, what="targets")
    if figures.shape != true_class.shape:
        raise DataError(
            f"Expected values and targets as two rows of one length, got {figures.shape} and "
            f"{true_class.shape}."
        )
    defined = ~np.isnan(figures)
    images = np.bincount(true_class[defined], minlength=n_classes)
    sums = np.bincount(true_class[defined], weights=figures[defined], minlength=n_classes)
    means: FloatArray = np.full(n_classes, np.nan)
    np.divide(sums, images, out=means, where=images > 0)
    return means


def mean_by_group(
    values: ArrayLike, group_of: Sequence[str], *, order: Sequence[str]
) -> dict[str, float | None]:
    """Return the mean of a figure over each shot group; None where there is nothing to average.

    Args:
        values: Floats ``(n,)``, one of each class or of each image; NaN is left out.
        group_of: The group of each of them, n names: of the class, or of the image's class. Shot
            groups follow from TRAINING counts.
        order: The groups in the order of the result.

    Raises:
        DataError: Not one row, not exactly one group per value, or a group that ``order`` lacks.

    Examples:
        >>> angles = [10.0, 20.0, 60.0, float("nan")]
        >>> mean_by_group(angles, ["head", "head", "tail", "tail"], order=["head", "tail", "x"])
        {'head': 15.0, 'tail': 60.0, 'x': None}
    """
    figures = np.asarray(values, dtype=np.float64)
    if figures.ndim != 1:
        raise DataError(f"Expected values as one row, got shape {figures.shape}.")
    members = group_members(group_of, order=order, length=len(figures), what="values")
    return {
        name: mean_where_defined(figures[mine]) for name, mine in zip(order, members, strict=True)
    }


def group_members(
    group_of: Sequence[str], *, order: Sequence[str], length: int, what: str
) -> NDArray[np.bool_]:
    """Return which classes (or whatever ``what`` is) are in each group: booleans ``(G, length)``.

    Raises:
        DataError: Not ``length`` groups, or a group that ``order`` lacks.
    """
    if len(group_of) != length:
        raise DataError(f"Expected one group for each of {length} {what}, got {len(group_of)}.")
    if unlisted := sorted(set(group_of) - set(order)):
        raise DataError(f"Expected groups among {list(order)}, got also {unlisted}.")
    groups = np.asarray(group_of, dtype=object)
    return np.array([groups == name for name in order], dtype=bool).reshape(len(order), length)


def mean_where_defined(values: FloatArray) -> float | None:
    """Return the mean of the values that are not NaN; None without any."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else None
