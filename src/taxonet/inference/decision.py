"""Which node of the tree to name: the deepest one that is likely enough.

A node's probability is the sum over its leaves, so it never falls on the way to the root. Two
different children of one node cannot both have more than one half; therefore the nodes above any
threshold over 0.5 form a chain from the root downwards, and "the deepest" is one node. At exactly
0.5 two siblings can both reach it; then the deeper, the more probable, the lower node is named.
The same rule decides for scores that are no distribution (independent sigmoids).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from taxonet.errors import ConfigError, DataError
from taxonet.taxonomy import Taxonomy

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

LOWEST_THRESHOLD_PROB = 0.5
PROB_DECIMALS = 6  # sums of float32 probabilities are no more exact than this
_ROOT = 0
_ROOT_TOLERANCE = 1e-3  # beyond rounding in any precision: other scores than node probabilities


@dataclass(frozen=True, eq=False)
class LikelyNodes:
    """The nodes below the root with a probability of at least 0.5: a few for each image.

    This is all that naming a node needs, for any threshold, at a cost that does not grow with
    the size of the tree.

    Attributes:
        n_images: Number of images, including those without an entry.
        image: int64 ``(m,)``, row of the image, ascending.
        node: int64 ``(m,)``, node of the entry, ascending within an image.
        prob: float64 ``(m,)``, its probability, rounded to 6 decimals so that equal
            probabilities that were summed in another order stay equal.
    """

    n_images: int
    image: IntArray
    node: IntArray
    prob: FloatArray

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the likely nodes of all images of the parts, in order."""
        sizes = [part.n_images for part in parts]
        starts = np.cumsum([0, *sizes])
        return cls(
            n_images=sum(sizes),
            image=np.concatenate(
                [part.image + start for part, start in zip(parts, starts, strict=False)]
            ),
            node=np.concatenate([part.node for part in parts]),
            prob=np.concatenate([part.prob for part in parts]),
        )


class NamingCurve(NamedTuple):
    """What happens to calibration images at every threshold that changes a name, highest first.

    Attributes:
        threshold_prob: float64 ``(t,)``, distinct observed probabilities, descending.
        named: int64 ``(t,)``, images named below the root at that threshold; at least 1.
        right: int64 ``(t,)``, how many of them rightly.
    """

    threshold_prob: FloatArray
    named: IntArray
    right: IntArray


def likely_nodes(node_probs: torch.Tensor) -> LikelyNodes:
    """Keep the entries of at least 0.5 of node probabilities.

    Args:
        node_probs: Floats ``(B, n)`` in node order on any device; column 0 is the root's 1.

    Raises:
        DataError: The root's probability is not 1 (within 0.001): these are other scores.

    Examples:
        >>> nodes = likely_nodes(torch.tensor([[1.0, 0.75, 0.25], [1.0, 0.5, 0.5]]))
        >>> nodes.image.tolist(), nodes.node.tolist(), nodes.prob.tolist()
        ([0, 1, 1], [1, 1, 2], [0.75, 0.5, 0.5])
    """
    far = ~((node_probs[:, _ROOT].double() - 1).abs() <= _ROOT_TOLERANCE)  # NaN is far too
    if bool(far.any()):
        row = int(far.nonzero()[0])
        raise DataError(
            f"Expected node probabilities with P(root) = 1 in column 0, got "
            f"{float(node_probs[row, _ROOT]):.6g} in row {row}: sum class probabilities up the "
            "tree first."
        )
    entries = (node_probs[:, 1:] >= LOWEST_THRESHOLD_PROB - 10.0**-PROB_DECIMALS).nonzero()
    image, node = entries[:, 0], entries[:, 1] + 1
    prob = np.round(node_probs[image, node].double().cpu().numpy(), PROB_DECIMALS)
    kept = prob >= LOWEST_THRESHOLD_PROB
    return LikelyNodes(
        n_images=len(node_probs),
        image=image.cpu().numpy()[kept],
        node=node.cpu().numpy()[kept],
        prob=prob[kept],
    )


def cut_at_truth(taxonomy: Taxonomy, likely: LikelyNodes, truth_nodes: ArrayLike) -> LikelyNodes:
    """Leave out what is below the true node of an image that is known to that node only.

    A photo known to its genus may be named to a species of it: nothing tells whether that is
    right. Cut so, the name is the genus, which is right, as the hierarchical metrics have it. Not
    for unknown taxa, whose true node is an ancestor: there, a name below it is wrong.

    Args:
        taxonomy: The tree.
        likely: Likely nodes of N images.
        truth_nodes: Integers ``(N,)``, the true node of each, at any depth.

    Raises:
        DataError: Not exactly one true node per image.

    Examples:
        >>> tree = Taxonomy.from_edges([("root", "Acer"), ("Acer", "A. rubrum"), ("root", "Tilia")])
        >>> nodes = likely_nodes(torch.tensor([[1.0, 0.75, 0.25, 0.625]] * 2))
        >>> cut_at_truth(tree, nodes, [1, 3]).node.tolist()  # of the genus, of the species
        [1, 1, 3]
    """
    truth = _checked_truth(truth_nodes, likely.n_images, taxonomy)[likely.image]
    kept = (likely.node == truth) | ~is_on_path(taxonomy, truth, likely.node)
    return LikelyNodes(likely.n_images, likely.image[kept], likely.node[kept], likely.prob[kept])


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
    named = np.full(likely.n_images, _ROOT, dtype=np.int64)
    named[likely.image[best_last]] = likely.node[best_last]  # of one image, the last one stays
    return named


def naming_curve(taxonomy: Taxonomy, likely: LikelyNodes, truth_nodes: ArrayLike) -> NamingCurve:
    """Count the named and the rightly named images at every threshold of at least 0.5.

    A name is right if the named node is the truth or an ancestor of it. The names at a threshold
    are those of `deepest_reaching`; the cost is that of sorting the entries.

    Args:
        taxonomy: The tree.
        likely: Likely nodes of N calibration images.
        truth_nodes: Integers ``(N,)``, the true node of each image, at any depth. For an unknown
            taxon it is its deepest ancestor in the tree.

    Raises:
        DataError: Not exactly one true node per image.

    Examples:
        >>> tree = Taxonomy.from_edges([("root", "Acer"), ("root", "Quercus")])
        >>> probs = torch.tensor([[1.0, 0.75, 0.25], [1.0, 0.625, 0.375]])
        >>> curve = naming_curve(tree, likely_nodes(probs), [1, 2])
        >>> curve.threshold_prob.tolist(), curve.named.tolist(), curve.right.tolist()
        ([0.75, 0.625], [1, 2], [1, 1])
    """
    truth = _checked_truth(truth_nodes, likely.n_images, taxonomy)
    order, best = _names_as_threshold_falls(taxonomy, likely)
    image = likely.image[order]
    right = is_on_path(taxonomy, likely.node[best], truth[image]).astype(np.int64)
    first = (np.diff(image, prepend=-1) > 0).astype(np.int64)  # first name below the root
    more_right = right - np.where(first, 0, np.roll(right, 1))
    falling = np.argsort(-likely.prob[order], kind="stable")
    probs = likely.prob[order][falling]
    last_of_value = np.flatnonzero(np.diff(probs, append=-1.0) != 0)
    return NamingCurve(
        threshold_prob=probs[last_of_value],
        named=np.cumsum(first[falling])[last_of_value],
        right=np.cumsum(more_right[falling])[last_of_value],
    )


def calibrate_threshold(curve: NamingCurve, *, accuracy: float = 0.95) -> float | None:
    """Return the smallest threshold at which the names are right often enough.

    Candidates are 0.5, the observed probabilities, and 1. The answer is the smallest candidate at
    which the share of right names among the images named below the root is at least ``accuracy``
    (true where no image is named). Larger thresholds, which name fewer images, may miss it: one
    wrong label among the surest names must not silence a classifier that is right below.

    This describes the calibration images. New images of the same kind come near it; it is no
    guarantee with a stated probability.

    Args:
        curve: The curve of calibration images that were not trained on.
        accuracy: Share of right names to reach, in (0, 1].

    Returns:
        A threshold in [0.5, 1], or None where even names of probability 1 are wrong too often.

    Raises:
        ConfigError: An accuracy outside (0, 1].

    Examples:
        >>> curve = NamingCurve(np.array([0.9, 0.8, 0.7, 0.6]), np.array([10, 20, 30, 40]),
        ...                     np.array([9, 19, 29, 36]))
        >>> calibrate_threshold(curve, accuracy=0.95)  # shares 0.9, 0.95, 0.967 and 0.9
        0.7
    """
    if not 0 < accuracy <= 1:
        raise ConfigError(f"Expected an accuracy in (0, 1], got {accuracy}.")
    thresholds = len(curve.threshold_prob)
    holding = np.flatnonzero(curve.right / curve.named >= accuracy)
    if thresholds == 0 or (holding.size and holding[-1] == thresholds - 1):
        return LOWEST_THRESHOLD_PROB  # no name changes below the smallest observed probability
    if holding.size:
        return float(curve.threshold_prob[holding[-1]])
    return 1.0 if curve.threshold_prob[0] < 1 else None


def _preference(
    taxonomy: Taxonomy, likely: LikelyNodes, entries: IntArray
) -> tuple[IntArray, FloatArray, NDArray[np.int32], IntArray]:
    """Sort keys, last one first: by image, then the entry to name comes last."""
    node = likely.node[entries]
    return -node, likely.prob[entries], taxonomy.depth[node], likely.image[entries]


def _names_as_threshold_falls(taxonomy: Taxonomy, likely: LikelyNodes) -> tuple[IntArray, IntArray]:
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


def _checked_truth(truth_nodes: ArrayLike, images: int, taxonomy: Taxonomy) -> IntArray:
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


def is_on_path(taxonomy: Taxonomy, node: IntArray, below: IntArray) -> BoolArray:
    """Say of each pair of nodes ``(B,)`` whether ``node`` is ``below`` or one of its ancestors."""
    climbing = below.astype(np.int64)
    while (too_deep := taxonomy.depth[climbing] > taxonomy.depth[node]).any():
        climbing = np.where(too_deep, taxonomy.parent[climbing], climbing)
    return np.asarray(climbing == node)
