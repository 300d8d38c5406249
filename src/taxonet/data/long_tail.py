"""Long tails: profiles of images per class, cutting a table to one, and shot groups."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taxonet.data.ordering import keyed_order
from taxonet.data.table import ImageTable
from taxonet.errors import DataError

# A quotient that is whole in exact arithmetic may come out a hair below it.
_ROUNDING = 1e-9

#: The shot groups, from the most to the fewest training images.
SHOT_GROUPS = ("many", "medium", "few")


def exponential_profile(largest: int, imbalance_factor: float, classes: int) -> NDArray[np.int64]:
    r"""Return images per class, from the commonest to the rarest, falling exponentially.

    $$N_k = \lfloor N_{max} \cdot IF^{-k / (c - 1)} \rfloor, \quad k = 0, \dots, c - 1$$

    Args:
        largest: Images of the commonest class, N_max.
        imbalance_factor: Images of the commonest over the rarest class, IF, at least 1.
        classes: Number of classes, c.

    Returns:
        ``(c,)`` int64, descending; the last may be 0 where ``largest < imbalance_factor``.

    Raises:
        DataError: An argument is out of range.

    Reference:
        Cui et al., "Class-Balanced Loss Based on Effective Number of Samples" (CVPR 2019).

    Examples:
        >>> exponential_profile(500, 100, 5).tolist()
        [500, 158, 50, 15, 5]
    """
    _require_counts(largest, classes)
    if imbalance_factor < 1:
        raise DataError(f"The imbalance factor must be at least 1, got {imbalance_factor}.")
    exponents = np.arange(classes) / max(1, classes - 1)
    return np.floor(largest / imbalance_factor**exponents + _ROUNDING).astype(np.int64)


def pareto_profile(
    largest: int, classes: int, *, alpha: float = 6.0, smallest: int = 5
) -> NDArray[np.int64]:
    r"""Return images per class, from the commonest to the rarest, as Pareto quantiles.

    $$q_k = p_k^{-1/\alpha} - 1, \quad p_k = \frac{k + 1/2}{c}, \quad
    N_k = \max(N_{min}, \lfloor N_{max} \, q_k / q_0 \rfloor)$$

    $q_k$ is the quantile of a Pareto distribution of the second kind at survival $p_k$: the
    shape by which ImageNet was cut to a long tail.

    Args:
        largest: Images of the commonest class, N_max.
        classes: Number of classes, c.
        alpha: Tail index; smaller is a longer tail.
        smallest: Images that the rarest classes keep, N_min.

    Returns:
        ``(c,)`` int64, descending, from ``largest`` to no less than ``smallest``.

    Raises:
        DataError: An argument is out of range.

    Reference:
        Liu et al., "Large-Scale Long-Tailed Recognition in an Open World" (CVPR 2019), section 4.

    Examples:
        >>> pareto_profile(1000, 5, alpha=6, smallest=5).tolist()
        [1000, 475, 261, 130, 37]
    """
    _require_counts(largest, classes)
    if alpha <= 0:
        raise DataError(f"The tail index alpha must be above 0, got {alpha}.")
    if not 0 <= smallest <= largest:
        raise DataError(f"`smallest` must lie in 0..{largest} (`largest`), got {smallest}.")
    survival = (np.arange(classes) + 0.5) / classes
    quantiles = survival ** (-1 / alpha) - 1
    whole = np.floor(largest * quantiles / quantiles[0] + _ROUNDING)
    counts: NDArray[np.float64] = np.maximum(whole, smallest)
    return counts.astype(np.int64)


def cut_to_profile(
    table: ImageTable, counts_by_rank: Sequence[int] | NDArray[np.int64], *, seed: int, minimum: int
) -> ImageTable:
    r"""Cut the training images to a profile of images per class.

    Classes are ranked by training size, largest first, ties by label. The class of rank k keeps
    the first $\min(available, \max(minimum, N_k))$ images of a shuffle that the seed decides.
    Where the table has splits only ``train`` is cut. Unlabelled images are kept.

    Args:
        table: Images with labels.
        counts_by_rank: N_k, one for each class, as the profile functions return them.
        seed: Decides which images stay.
        minimum: Images that every class keeps, if it has them.

    Raises:
        DataError: There are not as many counts as classes.
    """
    training = table.frame["taxon"].notna().to_numpy()
    if "split" in table.frame:
        training = training & (table.frame["split"] == "train").to_numpy()
    rows_of = table.frame[training].groupby("taxon", sort=False).indices
    if len(counts_by_rank) != len(rows_of):
        raise DataError(
            f"The profile has {len(counts_by_rank)} counts, but {len(rows_of)} classes have "
            "training images: make the profile with that many classes."
        )
    positions = np.flatnonzero(training)
    names = table.frame["image"].to_list()
    keep = ~training
    ranked = sorted(rows_of.items(), key=lambda item: (-len(item[1]), str(item[0])))
    for (taxon, members), count in zip(ranked, counts_by_rank, strict=True):
        rows = positions[members]
        order = keyed_order([names[row] for row in rows], "long tail", seed, str(taxon))
        keep[rows[order[: max(minimum, int(count))]]] = True
    return table.rows(keep)


def shot_groups(
    class_counts: ArrayLike, *, few_below: int = 20, many_above: int = 100
) -> NDArray[np.str_]:
    """Name the shot group of each class by its number of training images.

    Args:
        class_counts: Training images of each class, ``(c,)``.
        few_below: A class with fewer images is ``few``.
        many_above: A class with more images is ``many``; all between is ``medium``.

    Returns:
        ``(c,)`` of ``"many"``, ``"medium"``, ``"few"``.

    Raises:
        DataError: The boundaries overlap.

    Reference:
        Liu et al., "Large-Scale Long-Tailed Recognition in an Open World" (CVPR 2019), section 4.

    Examples:
        >>> shot_groups([101, 100, 20, 19]).tolist()
        ['many', 'medium', 'medium', 'few']
    """
    if few_below > many_above + 1:
        raise DataError(
            f"`few_below` ({few_below}) must not be over `many_above` + 1 ({many_above + 1}): "
            "a class would be in both groups."
        )
    counts = np.asarray(class_counts)
    names = np.where(counts > many_above, "many", np.where(counts < few_below, "few", "medium"))
    return names.astype(np.str_)


def _require_counts(largest: int, classes: int) -> None:
    if largest < 1 or classes < 1:
        raise DataError(
            f"A profile needs at least one class and one image, got {classes} classes and "
            f"{largest} images in the largest."
        )
