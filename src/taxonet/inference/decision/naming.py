"""The node to name at a threshold: the deepest one that is likely enough.

A node's probability is the sum over its leaves, so it never falls on the way to the root. Two
different children of one node cannot both have more than one half; therefore the nodes above any
threshold over 0.5 form a chain from the root downwards, and "the deepest" is one node. At exactly
0.5 two siblings can both reach it; then the deeper, the more probable, the lower node is named.
The same rule decides for scores that are no distribution (independent sigmoids).
"""

import numpy as np
import torch
from numpy.typing import NDArray

from taxonet.errors import ConfigError
from taxonet.inference.decision.likely import (
    LOWEST_THRESHOLD_PROB,
    ROOT,
    FloatArray,
    IntArray,
    LikelyNodes,
    likely_nodes,
)
from taxonet.taxonomy import Taxonomy


def deepest_reaching(
    taxonomy: Taxonomy, probs: torch.Tensor | LikelyNodes, *, threshold_prob: float
) -> IntArray:
    """Name the deepest node whose probability is at least the threshold, the root if none is.

    Ties in depth go to the more probable, then to the lower node. A node with a single child is
    as probable as the child, so the child is named.

    Args:
        taxonomy: The tree, n nodes.
        probs: Node probabilities ``(B, n)``, or their `LikelyNodes`.
        threshold_prob: In [0.5, 1], compared with probabilities rounded to 6 decimals, so that
            1.0 is reached by a probability that misses it by float rounding.

    Returns:
        int64 ``(B,)``, the named nodes; 0 (the root) names nothing.

    Raises:
        ConfigError: A threshold outside [0.5, 1].

    Reference:
        The climbing rule of Goren, Galil and El-Yaniv, Hierarchical Selective Classification,
        arXiv 2405.11533.

    Examples:
        >>> tree = Taxonomy.from_edges([("root", "Acer"), ("root", "Quercus"),
        ...                             ("Quercus", "Q. alba"), ("Quercus", "Q. rubra")])
        >>> probs = torch.tensor([[1.0, 0.1, 0.9, 0.7, 0.2]])
        >>> [tree.names[int(deepest_reaching(tree, probs, threshold_prob=t)[0])]
        ...  for t in (0.6, 0.8, 0.95)]
        ['Q. alba', 'Quercus', 'root']
    """
    if not LOWEST_THRESHOLD_PROB <= threshold_prob <= 1:
        raise ConfigError(
            f"Expected threshold_prob in [0.5, 1], got {threshold_prob}: below 0.5 the nodes "
            "that reach it do not form one chain."
        )
    likely = likely_nodes(probs) if isinstance(probs, torch.Tensor) else probs
    reached = np.flatnonzero(likely.prob >= threshold_prob)
    best_last = reached[np.lexsort(_preference(taxonomy, likely, reached))]
    named = np.full(likely.n_images, ROOT, dtype=np.int64)
    named[likely.image[best_last]] = likely.node[best_last]  # of one image, the last one stays
    return named


def names_as_threshold_falls(taxonomy: Taxonomy, likely: LikelyNodes) -> tuple[IntArray, IntArray]:
    """Return the entries by image and falling probability, and the entry named after each.

    Of entries of one image with equal probability only the name after the last one counts.
    """
    entries = np.arange(len(likely.node))
    by_preference = np.lexsort(_preference(taxonomy, likely, entries))
    rank = np.empty_like(entries)
    rank[by_preference] = entries  # ascending over images, and over preference inside an image
    order = np.lexsort((-likely.prob, likely.image))
    # Ranks of a later image exceed all of an earlier one, so the running maximum never leaks.
    return order, by_preference[np.maximum.accumulate(rank[order])]


def _preference(
    taxonomy: Taxonomy, likely: LikelyNodes, entries: IntArray
) -> tuple[IntArray, FloatArray, NDArray[np.int32], IntArray]:
    """Sort keys, last one first: by image, then the entry to name comes last."""
    node = likely.node[entries]
    return -node, likely.prob[entries], taxonomy.depth[node], likely.image[entries]
