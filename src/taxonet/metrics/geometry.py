"""How embeddings, class centres and class weights lie in space: angles, norms, distances."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taxonet.errors import DataError
from taxonet.metrics.counts import class_indices
from taxonet.metrics.groups import group_members
from taxonet.metrics.vectors import directions, finite_matrix, row_blocks

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class PairMeans:
    """The mean over pairs of two different vectors; None without a pair.

    Attributes:
        pairs: How many pairs there are, (a, b) and (b, a) being one.
        distance: Mean Euclidean distance, at least 0.
        cosine: Mean cosine, in [-1, 1].
    """

    pairs: int
    distance: float | None
    cosine: float | None


@dataclass(frozen=True)
class PairwiseGeometry:
    """How far apart vectors are, over all pairs and by the groups of the two.

    Attributes:
        overall: All pairs.
        by_groups: Pairs of a vector of one group and one of the other (or of the same) group, by
            the two names, in the order of the groups.
    """

    overall: PairMeans
    by_groups: dict[tuple[str, str], PairMeans]

    def by_name(self) -> dict[str, PairMeans]:
        """Return all of it by names: ``all-all``, then the two groups, as in ``head-tail``."""
        named = {f"{one}-{other}": found for (one, other), found in self.by_groups.items()}
        return {"all-all": self.overall, **named}


def angles_to_centers(embeddings: ArrayLike, targets: ArrayLike, centers: ArrayLike) -> FloatArray:
    """Return the angle between each embedding and the centre of its class, in degrees.

    ``theta_i = arccos(<x_i, w_{y_i}> / (|x_i| |w_{y_i}|))``, computed from the half-angle, which is
    exact for small angles too. A vector of norm 0 has no direction: its cosine is 0 and its angle
    90 degrees, as in the cosine head.

    Args:
        embeddings: Floats ``(N, d)``.
        targets: Integers ``(N,)``, the class of each embedding.
        centers: Floats ``(c, d)``, the centre of each class: its mean embedding, or its row of the
            weights of a cosine head.

    Returns:
        float64 ``(N,)``, in [0, 180].

    Raises:
        DataError: Shapes that do not fit, values that are not finite, or a class out of range.

    Reference:
        Difficulty-aware Balancing Margin Loss for Long-tailed Recognition, Figure 4.

    Examples:
        >>> angles_to_centers([[2.0, 0.0], [3.0, 3.0]], [0, 0], [[5.0, 0.0]]).round(6).tolist()
        [0.0, 45.0]
    """
    rows, middles = finite_matrix(embeddings, "embeddings"), finite_matrix(centers, "centers")
    true_class = class_indices(targets, len(middles), lowest=0, what="targets")
    if len(true_class) != len(rows) or middles.shape[1] != rows.shape[1]:
        raise DataError(
            f"Expected embeddings (N, d), targets (N,) and centers (c, d), got {rows.shape}, "
            f"{true_class.shape} and {middles.shape}."
        )
    units = directions(middles)
    angles: FloatArray = np.empty(len(rows))
    for block in row_blocks(len(rows)):
        own, center = directions(rows[block]), units[true_class[block]]
        apart = np.linalg.norm(own - center, axis=1)
        along = np.linalg.norm(own + center, axis=1)
        has_direction = own.any(axis=1) & center.any(axis=1)
        angles[block] = np.where(has_direction, 2 * np.degrees(np.arctan2(apart, along)), 90.0)
    return angles


def vector_norms(vectors: ArrayLike) -> FloatArray:
    """Return the Euclidean norm of each vector: of embeddings, class means, or class weights.

    Args:
        vectors: Floats ``(N, d)``.

    Returns:
        float64 ``(N,)``, at least 0.

    Raises:
        DataError: Not two dimensions, or values that are not finite.

    Reference:
        Learning Prototype Classifiers for Long-Tailed Recognition, Figure 2.

    Examples:
        >>> vector_norms([[3.0, 4.0], [0.0, 0.0]]).tolist()
        [5.0, 0.0]
    """
    rows = finite_matrix(vectors, "vectors")
    norms: FloatArray = np.empty(len(rows))
    for block in row_blocks(len(rows)):
        norms[block] = np.linalg.norm(rows[block].astype(np.float64), axis=1)
    return norms


def pairwise_geometry(
    vectors: ArrayLike, group_of: Sequence[str], *, order: Sequence[str]
) -> PairwiseGeometry:
    """Return the mean distance and cosine between the vectors of classes, by pair of groups.

    No vector is paired with itself. The pairs are made a block of rows at a time: the time is
    O(c^2 d), the memory two float64 copies of the vectors and O(c). A vector of norm 0 has the
    cosine 0 with everything.

    Args:
        vectors: Floats ``(c, d)``: prototypes, class means, or class weights.
        group_of: The group of each class, c names. Shot groups follow from TRAINING counts.
        order: The groups in the order of the result.

    Raises:
        DataError: Not exactly one group per class, a group that ``order`` lacks, not two
            dimensions, or values that are not finite.

    Reference:
        Learning Prototype Classifiers for Long-Tailed Recognition, Figure 3.

    Examples:
        >>> corners = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]
        >>> found = pairwise_geometry(corners, ["head", "head", "tail"], order=["head", "tail"])
        >>> found.by_groups["head", "tail"].pairs, found.by_groups["head", "tail"].cosine
        (2, -0.5)
        >>> found.by_groups["tail", "tail"]
        PairMeans(pairs=0, distance=None, cosine=None)
        >>> list(found.by_name())
        ['all-all', 'head-head', 'head-tail', 'tail-tail']
    """
    rows = finite_matrix(vectors, "vectors").astype(np.float64)
    members = group_members(group_of, order=order, length=len(rows), what="classes")  # (G, c)
    membership = members.T.astype(np.float64)
    units = directions(rows)
    distances: FloatArray = np.zeros((len(order), len(order)))
    cosines: FloatArray = np.zeros_like(distances)
    for block in row_blocks(len(rows)):
        # Of the pairs (a, b) and (b, a) only the one below the diagonal counts.
        earlier = np.arange(len(rows))[block, None] > np.arange(len(rows))
        mine = membership[block].T
        distances += mine @ (_distances(rows[block], rows) * earlier) @ membership
        cosines += mine @ (units[block] @ units.T * earlier) @ membership
    distances, cosines = _both_ways(distances), _both_ways(cosines)
    sizes = members.sum(axis=1)
    by_groups = {}
    for i, j in combinations_with_replacement(range(len(order)), 2):
        pairs = int(sizes[i] * (sizes[i] - 1) // 2 if i == j else sizes[i] * sizes[j])
        by_groups[order[i], order[j]] = _pair_means(pairs, distances[i, j], cosines[i, j])
    every = np.triu_indices(len(order))
    overall = _pair_means(
        len(rows) * (len(rows) - 1) // 2, distances[every].sum(), cosines[every].sum()
    )
    return PairwiseGeometry(overall=overall, by_groups=by_groups)


def _distances(block: FloatArray, rows: FloatArray) -> FloatArray:
    """Return Euclidean distances ``(b, c)``, exact to about 1e-8 of the lengths of the vectors."""
    squares = (block**2).sum(axis=1)[:, None] + (rows**2).sum(axis=1) - 2 * block @ rows.T
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)))


def _both_ways(sums: FloatArray) -> FloatArray:
    """Add the sums of (group i, group j) and (group j, group i), which are one kind of pair."""
    return sums + np.triu(sums.T, 1) + np.tril(sums.T, -1)


def _pair_means(pairs: int, distance_sum: float, cosine_sum: float) -> PairMeans:
    if pairs == 0:
        return PairMeans(pairs=0, distance=None, cosine=None)
    return PairMeans(pairs, float(distance_sum) / pairs, float(cosine_sum) / pairs)
