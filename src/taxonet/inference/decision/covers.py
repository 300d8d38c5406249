"""Nodes in place of sets of leaves: the one node above them all, and the fewest that are them."""

import numpy as np
import torch
from numpy.typing import NDArray

from taxonet.errors import DataError
from taxonet.inference.decision.likely import IntArray
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import sum_up

BoolArray = NDArray[np.bool_]


def covering_node(taxonomy: Taxonomy, leaf_sets: BoolArray) -> IntArray:
    """Return the deepest node that has all leaves of a set on it or below it.

    Args:
        taxonomy: The tree, c leaves.
        leaf_sets: bool ``(B, c)`` in the order of ``taxonomy.leaves``, a set a row.

    Returns:
        int64 ``(B,)``; the root, 0, for an empty set.

    Raises:
        DataError: Another shape or type.

    Examples:
        >>> tree = Taxonomy.from_edges([("root", "Acer"), ("root", "Quercus"),
        ...                             ("Quercus", "Q. alba"), ("Quercus", "Q. rubra")])
        >>> sets = np.array([[False, True, True], [False, True, False], [True, True, False]])
        >>> [tree.names[node] for node in covering_node(tree, sets)]
        ['Quercus', 'Q. alba', 'root']
    """
    inside = _counted(taxonomy, leaf_sets)
    has_all = inside == inside[:, :1]
    # Nodes above all leaves of the set form a chain, and deeper nodes come later.
    deepest: IntArray = len(taxonomy) - 1 - has_all[:, ::-1].argmax(axis=1)
    return np.where(inside[:, 0] > 0, deepest, 0)


def covering_nodes(taxonomy: Taxonomy, leaf_sets: BoolArray) -> BoolArray:
    """Return the fewest nodes with exactly the leaves of a set on them or below them.

    They are the highest nodes whose leaves are all in the set, so none is above another. Where a
    node has one child only, the child stands for it: it has the same leaves and says more.

    Args:
        taxonomy: The tree, n nodes, c leaves.
        leaf_sets: bool ``(B, c)`` in the order of ``taxonomy.leaves``, a set a row.

    Returns:
        bool ``(B, n)``.

    Raises:
        DataError: Another shape or type.

    Examples:
        >>> tree = Taxonomy.from_edges([("root", "Acer"), ("root", "Quercus"),
        ...                             ("Quercus", "Q. alba"), ("Quercus", "Q. rubra")])
        >>> sets = np.array([[False, True, True], [True, True, False]])
        >>> [[tree.names[node] for node in row.nonzero()[0]] for row in covering_nodes(tree, sets)]
        [['Quercus'], ['Acer', 'Q. alba']]
    """
    full = _counted(taxonomy, leaf_sets) == taxonomy.leaf_count
    nodes = full.copy()
    nodes[:, 1:] &= ~full[:, taxonomy.parent[1:]]
    children = np.bincount(taxonomy.parent[1:], minlength=len(taxonomy))
    for level in taxonomy.level_slices[1:]:
        parent = taxonomy.parent[level]
        only = children[parent] == 1
        child, parent = level.start + np.flatnonzero(only), parent[only]
        nodes[:, child] = nodes[:, parent]
        nodes[:, parent] = False
    return np.asarray(nodes)


def _counted(taxonomy: Taxonomy, leaf_sets: BoolArray) -> IntArray:
    """Return how many leaves of each set lie on or below each node, int64 ``(B, n)``."""
    sets = np.asarray(leaf_sets)
    if sets.ndim != 2 or sets.shape[1] != len(taxonomy.leaves) or sets.dtype != np.bool_:
        raise DataError(
            f"Expected sets of leaves as booleans (B, {len(taxonomy.leaves)}) in the order of "
            f"taxonomy.leaves, got {sets.dtype} of shape {sets.shape}."
        )
    counts = np.zeros((len(sets), len(taxonomy)), dtype=np.int64)
    counts[:, taxonomy.leaves] = sets
    summed: IntArray = sum_up(taxonomy, torch.from_numpy(counts)).numpy()
    return summed
