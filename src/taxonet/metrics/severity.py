"""How bad mistakes are: how high up the tree the named and the true node meet."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from taxonet.errors import DataError
from taxonet.metrics.arrays import Values, as_array, named_and_true, target_indices
from taxonet.taxonomy.shape import TreeShape

IntArray = NDArray[np.int64]


def node_heights(taxonomy: TreeShape) -> IntArray:
    """Return the edges on the longest way from each node down to a leaf, int64 ``(n,)``.

    Examples:
        >>> node_heights(TreeShape(np.array([-1, 0, 0, 1], dtype=np.int32))).tolist()
        [2, 1, 0, 0]
    """
    heights = np.zeros(taxonomy.size, dtype=np.int64)
    for level in reversed(taxonomy.level_slices[1:]):
        np.maximum.at(heights, taxonomy.parent[level], heights[level] + 1)
    return heights


def lca_heights(predicted_nodes: Values, target_nodes: Values, taxonomy: TreeShape) -> IntArray:
    """Return for each image the height of the node where the named and the true node meet.

    It is 0 where the named node is the truth or lies below it, as everywhere in the hierarchical
    metrics; a node above the truth is a mistake of its own height. These are what a running mean
    over many batches, or a bootstrap interval, is made of.

    Args:
        predicted_nodes: Integers ``(B,)``, the named nodes.
        target_nodes: Integers ``(B,)``, the true nodes.
        taxonomy: The tree, n nodes.

    Returns:
        int64 ``(B,)``, in edges, at least 0.

    Raises:
        DataError: Lengths that differ, or a node out of range.

    Examples:
        >>> tree = TreeShape(np.array([-1, 0, 0, 1, 1, 2, 2], dtype=np.int32))
        >>> lca_heights([3, 4, 5, 1, 3], [3, 3, 3, 3, 1], tree).tolist()
        [0, 1, 2, 1, 0]
    """
    named, truth = named_and_true(predicted_nodes, target_nodes, taxonomy.size)
    lca = taxonomy.lca(named, truth)
    return np.where(lca == truth, 0, _heights_kept(taxonomy)[lca])


@lru_cache(maxsize=4)
def _heights_kept(taxonomy: TreeShape) -> IntArray:
    """Return the heights of a tree, computed once for all batches."""
    return node_heights(taxonomy)


def mistake_severity(
    predicted_nodes: Values, target_nodes: Values, taxonomy: TreeShape
) -> float | None:
    """Return the mean height of the lowest common ancestor over the mistakes; None without any.

    Args:
        predicted_nodes: Integers ``(B,)``, the named nodes, mostly leaves.
        target_nodes: Integers ``(B,)``, the true nodes.
        taxonomy: The tree, n nodes.

    Returns:
        Edges, from 1 (the neighbour was named) to the height of the tree. It does not tell how
        many mistakes there are.

    Raises:
        DataError: Lengths that differ, or a node out of range.

    Reference:
        Bertinetto et al., Making Better Mistakes, arXiv 1912.09393, section 4.

    Examples:
        >>> tree = TreeShape(np.array([-1, 0, 0, 1, 1, 2, 2], dtype=np.int32))
        >>> mistake_severity([3, 4, 5, 5], [3, 3, 3, 4], tree)  # (1 + 2 + 2) / 3
        1.6666666666666667
    """
    heights = lca_heights(predicted_nodes, target_nodes, taxonomy)
    mistakes = heights[heights > 0]
    return float(mistakes.mean()) if mistakes.size else None


def hierarchical_distance_at_k(
    ranked_nodes: Values, target_nodes: Values, taxonomy: TreeShape
) -> float | None:
    """Return the mean height of the lowest common ancestor over the k most probable nodes.

    Right nodes count as 0. At k = 1 it is the mistake severity times the share of mistakes; with
    larger k it tells how much of the ranking lies near the truth. None without images.

    Args:
        ranked_nodes: Integers ``(B, k)``, the k most probable leaves of each image in any order.
        target_nodes: Integers ``(B,)``, the true nodes.
        taxonomy: The tree, n nodes.

    Returns:
        Edges, from 0 to the height of the tree; lower is better.

    Raises:
        DataError: Shapes that do not fit, or a node out of range.

    Reference:
        Bertinetto et al., Making Better Mistakes, arXiv 1912.09393, section 4.

    Examples:
        >>> tree = TreeShape(np.array([-1, 0, 0, 1, 1, 2, 2], dtype=np.int32))
        >>> hierarchical_distance_at_k([[3, 4], [5, 3]], [3, 3], tree)  # (0 + 1 + 2 + 0) / 4
        0.75
    """
    ranked = as_array(ranked_nodes)
    if ranked.ndim != 2 or ranked.shape[1] < 1:
        raise DataError(f"Expected ranked nodes (B, k), k at least 1, got {ranked.shape}.")
    truth = target_indices(target_nodes, taxonomy.size, images=len(ranked))
    heights = lca_heights(ranked.ravel(), np.repeat(truth, ranked.shape[1]), taxonomy)
    return float(heights.mean()) if heights.size else None
