"""What each image can be named, from the most confident to the most specific node."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from taxonet.metrics.arrays import Probabilities
from taxonet.taxonomy.shape import TreeShape

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class ParetoSteps(NamedTuple):
    """The Pareto sequences of a batch: s steps of B images, at least one each.

    Attributes:
        image: int64 ``(s,)``, row of the image, ascending.
        node: int64 ``(s,)``, most specific first within an image; that is its best leaf.
        confidence: float64 ``(s,)``, strictly ascending within an image.
    """

    image: IntArray
    node: IntArray
    confidence: FloatArray


class ParetoFinder:
    """Finds the nodes that no node both more confident and more specific stands against.

    A node is as specific as it has few leaves; nodes with exactly one child are never named,
    since the child says more at the same number of leaves. A node is a step of an image if all
    more specific nodes are less confident; of equally specific nodes only the most confident
    can be one, and of equals the lowest.

    So the steps are where a running maximum of the probabilities rises, from the leaves to the
    root. The most probable leaf is always the first of them and beats nearly all inner nodes,
    so that the running maximum is left with a few of them: the cost is that of reading the
    probabilities once, O(B n), without sorting them.

    Args:
        taxonomy: The tree, n nodes.

    Reference:
        Valmadre, Hierarchical Classification at Multiple Operating Points, arXiv 2210.10929,
        algorithm 1.

    Examples:
        >>> tree = TreeShape(np.array([-1, 0, 0, 1, 1, 2, 2], dtype=np.int32))
        >>> steps = ParetoFinder(tree)(np.array([[1, 0.75, 0.25, 0.5, 0.25, 0.125, 0.125]]))
        >>> steps.node.tolist(), steps.confidence.tolist()
        ([3, 1, 0], [0.5, 0.75, 1.0])
    """

    def __init__(self, taxonomy: TreeShape) -> None:
        children = np.bincount(taxonomy.parent[1:], minlength=taxonomy.size)
        inner = np.flatnonzero(children > 1)
        self._leaf_count = taxonomy.leaf_count
        self._inner = inner[np.argsort(self._leaf_count[inner], kind="stable")]
        self._leaves = taxonomy.leaves
        self._leaf_columns = _columns(taxonomy.leaves)

    def __call__(self, probs: Probabilities) -> ParetoSteps:
        """Return the steps of node probabilities, floats ``(B, n)`` without NaN."""
        images = np.arange(len(probs))
        leaf = self._leaves[probs[:, self._leaf_columns].argmax(axis=1)]
        leaf_prob = probs[images, leaf]
        inner_probs = np.take(probs, self._inner, axis=1)
        image, place = np.nonzero(inner_probs > leaf_prob[:, None])
        prob = inner_probs[image, place]
        rises = _rises(image, prob, n_images=len(probs))
        image, node, prob = image[rises], self._inner[place[rises]], prob[rises]
        last = self._last_of_equally_specific(image, node)
        image = np.concatenate([images, image[last]])
        order = np.argsort(image, kind="stable")
        confidence = np.concatenate([leaf_prob, prob[last]]).astype(np.float64)
        return ParetoSteps(
            image[order], np.concatenate([leaf, node[last]])[order], confidence[order]
        )

    def _last_of_equally_specific(self, image: IntArray, node: IntArray) -> BoolArray:
        leaves = self._leaf_count[node]
        last = np.ones(len(node), dtype=bool)
        last[:-1] = (image[1:] != image[:-1]) | (leaves[1:] != leaves[:-1])
        return last


def _rises(image: IntArray, prob: Probabilities, *, n_images: int) -> BoolArray:
    """Say which probabilities exceed all earlier ones of their image; images are ascending."""
    counts = np.bincount(image, minlength=n_images)
    column = np.arange(len(image)) - (np.cumsum(counts) - counts)[image]
    padded = np.full((n_images, 1 + counts.max(initial=0)), -np.inf, dtype=prob.dtype)
    padded[image, 1 + column] = prob
    highest_before = np.maximum.accumulate(padded, axis=1)[image, column]
    return np.asarray(prob > highest_before)


def _columns(nodes: IntArray) -> IntArray | slice:
    """Return nodes as a slice where they are neighbours: a slice of columns is not copied."""
    if nodes[-1] - nodes[0] + 1 == len(nodes):
        return slice(int(nodes[0]), int(nodes[-1]) + 1)
    return nodes
