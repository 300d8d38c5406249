"""Diffusion over other graphs than the tree: relatives and look-alikes joined as well.

The limit is found by a sparse LU factorisation, made once, on the CPU in float64.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from taxonet.errors import ConfigError, DataError
from taxonet.taxonomy import Taxonomy

FloatArray = NDArray[np.float64]

# Beyond this a graph of all pairs of siblings is a mistake: it would fill the memory.
_MOST_PAIRS = 20_000_000


class GraphDiffusion:
    r"""The exact limit of diffusion over any graph.

    .. math:: f^* = (1 - \alpha) (I - \alpha D^{-1/2} W D^{-1/2})^{-1} f^0, \quad D = diag(W 1)

    Args:
        weights: The weights W of the edges, a symmetric sparse matrix (n, n) of numbers >= 0;
            see `tree_graph`. The diagonal does not count. A node without edges keeps
            ``(1 - alpha) f0``.
        alpha: The part that comes from the neighbours, in [0, 1).

    Raises:
        ConfigError: alpha is out of range.
        DataError: The weights are not square, not symmetric, or negative.

    Reference:
        P2 (Hierarchical classification via diffusion on manifolds), eq. 1 and 4.

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c")])
        >>> GraphDiffusion(tree_graph(tree), alpha=0.5)([[0.0, 1.0, 0.0]]).round(4)
        array([[0.2357, 0.5833, 0.0833]])
    """

    def __init__(self, weights: Any, *, alpha: float = 0.3) -> None:
        if not 0 <= alpha < 1:
            raise ConfigError(f"Expected alpha in [0, 1), got {alpha}.")
        graph = _checked(weights)
        degree = np.asarray(graph.sum(axis=1)).ravel()
        scale = sparse.diags_array(1 / np.sqrt(np.where(degree > 0, degree, 1)))
        system = sparse.eye_array(graph.shape[0]) - alpha * (scale @ graph @ scale)
        self._alpha = alpha
        self._factors = splu(system.tocsc())

    def __call__(self, scores: ArrayLike) -> FloatArray:
        """Return the limits (B, n) of initial scores (B, n).

        Raises:
            DataError: There is not one score a node.
        """
        initial = np.asarray(scores, dtype=np.float64)
        nodes = self._factors.shape[0]
        if initial.ndim != 2 or initial.shape[1] != nodes:
            raise DataError(f"Expected scores (B, {nodes}), but got {initial.shape}.")
        limit: FloatArray = self._factors.solve((1 - self._alpha) * initial.T).T
        return np.ascontiguousarray(limit)


def tree_graph(
    taxonomy: Taxonomy,
    *,
    sibling_weight: float = 0.0,
    confusion: Any = None,
    confusion_weight: float = 1.0,
) -> Any:
    """Return the weights of a graph over the nodes of a tree.

    An edge of the tree weighs 1. Two nodes that validation images mix up are joined by
    ``confusion_weight`` times the mean of the two shares: of the images of one that were named
    the other, and the reverse. All these add up.

    Args:
        taxonomy: The tree, of n nodes.
        sibling_weight: The weight between two children of one node, at least 0.
        confusion: Counts (n, n), dense or sparse, of validation images: the true node by rows,
            the named node by columns.
        confusion_weight: The weight of two nodes that are always mixed up, at least 0.

    Returns:
        A symmetric sparse array (n, n), float64.

    Raises:
        ConfigError: A weight is negative, or there are more than 20 million pairs of siblings.
        DataError: ``confusion`` is not (n, n).

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c")])
        >>> tree_graph(tree, sibling_weight=0.5).toarray()
        array([[0. , 1. , 1. ],
               [1. , 0. , 0.5],
               [1. , 0.5, 0. ]])
        >>> mixed_up = [[0, 0, 0], [0, 3, 1], [0, 1, 1]]  # 1 of 4, and 1 of 2
        >>> tree_graph(tree, confusion=mixed_up)[1, 2]
        np.float64(0.375)
    """
    if sibling_weight < 0 or confusion_weight < 0:
        raise ConfigError(
            f"Expected weights of at least 0, got {sibling_weight} and {confusion_weight}."
        )
    size = len(taxonomy)
    below = np.arange(1, size)
    half = _entries(taxonomy.parent[1:], below, 1.0, size)
    if sibling_weight > 0:
        half = half + _entries(*_sibling_pairs(taxonomy), sibling_weight, size)
    if confusion is not None:
        half = half + confusion_weight / 2 * _shares(confusion, size)
    return (half + half.T).tocsr()


def _entries(rows: ArrayLike, columns: ArrayLike, weight: float, size: int) -> Any:
    rows, columns = np.asarray(rows), np.asarray(columns)
    weights = np.full(len(rows), weight)
    return sparse.coo_array((weights, (rows, columns)), shape=(size, size)).tocsr()


def _sibling_pairs(taxonomy: Taxonomy) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return every pair of siblings once. A node's later siblings are the nodes right after it."""
    size = len(taxonomy)
    children = np.bincount(taxonomy.parent[1:], minlength=size)
    pairs = int((children * (children - 1) // 2).sum())
    if pairs > _MOST_PAIRS:
        raise ConfigError(
            f"This tree has {pairs} pairs of siblings, and a graph may have {_MOST_PAIRS}: leave "
            "sibling_weight at 0."
        )
    last = np.cumsum(children)  # breadth-first: the last child of each node
    later = last[taxonomy.parent] - np.arange(size)
    later[0] = 0
    first = np.repeat(np.arange(size), later)
    step = np.arange(len(first)) - np.repeat(np.cumsum(later) - later, later)
    return first, first + step + 1


def _shares(confusion: Any, size: int) -> Any:
    counts = sparse.csr_array(confusion, dtype=np.float64)
    if counts.shape != (size, size):
        raise DataError(f"Expected a confusion matrix ({size}, {size}), but got {counts.shape}.")
    images = np.asarray(counts.sum(axis=1)).ravel()
    shares = sparse.diags_array(1 / np.where(images > 0, images, 1)) @ counts
    return shares - sparse.diags_array(shares.diagonal())


def _checked(weights: Any) -> Any:
    graph = sparse.csr_array(weights, dtype=np.float64)
    if graph.shape[0] != graph.shape[1]:
        raise DataError(f"Expected square weights, but got {graph.shape}.")
    graph = graph - sparse.diags_array(graph.diagonal())
    if graph.nnz and (graph.data.min() < 0 or abs(graph - graph.T).max() > 1e-12 * graph.max()):
        raise DataError("Expected symmetric weights of at least 0.")
    return graph
