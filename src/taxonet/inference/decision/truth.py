"""True nodes at any depth: what a name is compared with."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taxonet.errors import DataError
from taxonet.inference.decision.likely import IntArray, LikelyNodes
from taxonet.taxonomy import Taxonomy

BoolArray = NDArray[np.bool_]


def is_on_path(taxonomy: Taxonomy, node: IntArray, below: IntArray) -> BoolArray:
    """Say of each pair of nodes ``(B,)`` whether ``node`` is ``below`` or one of its ancestors."""
    climbing = below.astype(np.int64)
    while (too_deep := taxonomy.depth[climbing] > taxonomy.depth[node]).any():
        climbing = np.where(too_deep, taxonomy.parent[climbing], climbing)
    return np.asarray(climbing == node)


def cut_at_truth(
    taxonomy: Taxonomy,
    likely: LikelyNodes,
    truth_nodes: ArrayLike,
    *,
    known: BoolArray | None = None,
) -> LikelyNodes:
    """Leave out what is below the true node of an image that is known to that node only.

    A photo known to its genus may be named to a species of it: nothing tells whether that is
    right. Cut so, the name is the genus, which is right, as the hierarchical metrics have it. Not
    for unknown taxa, whose true node is an ancestor: there, a name below it is wrong.

    Args:
        taxonomy: The tree.
        likely: Likely nodes of N images.
        truth_nodes: Integers ``(N,)``, the true node of each, at any depth.
        known: Bools ``(N,)``, False for images of unknown taxa, which stay as they are; None
            for all known.

    Raises:
        DataError: Not exactly one true node per image.

    Examples:
        >>> import torch
        >>> from taxonet.inference.decision import likely_nodes
        >>> tree = Taxonomy.from_edges([("root", "Acer"), ("Acer", "A. rubrum"), ("root", "Tilia")])
        >>> nodes = likely_nodes(torch.tensor([[1.0, 0.75, 0.25, 0.625]] * 2))
        >>> cut_at_truth(tree, nodes, [1, 3]).node.tolist()  # of the genus, of the species
        [1, 1, 3]
    """
    truth = checked_truth(truth_nodes, likely.n_images, taxonomy)[likely.image]
    kept = (likely.node == truth) | ~is_on_path(taxonomy, truth, likely.node)
    if known is not None:
        kept |= ~known[likely.image]
    return LikelyNodes(likely.n_images, likely.image[kept], likely.node[kept], likely.prob[kept])


def checked_truth(truth_nodes: ArrayLike, images: int, taxonomy: Taxonomy) -> IntArray:
    """Return the true nodes as int64 ``(images,)``, or say what is wrong with them."""
    truth = np.asarray(truth_nodes)
    if truth.shape != (images,) or truth.dtype.kind not in "iu":
        raise DataError(
            f"Expected one true node for each of {images} images as integers, got "
            f"{truth.dtype} of shape {truth.shape}."
        )
    outside = np.flatnonzero((truth < 0) | (truth >= len(taxonomy)))
    if outside.size:
        raise DataError(
            f"True nodes must lie in 0..{len(taxonomy) - 1}, but row {outside[0]} has "
            f"{truth[outside[0]]} ({outside.size} such rows)."
        )
    return truth.astype(np.int64)
