"""How wrong the names are at every specificity: hierarchical risk over hierarchical coverage."""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from taxonet.errors import DataError
from taxonet.metrics.arrays import Probabilities, Values, node_probabilities, target_indices
from taxonet.taxonomy.shape import TreeShape

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class RiskCoveragePoints(NamedTuple):
    """The curve of N images, from the root for all of them to a leaf for all of them.

    Attributes:
        images: N.
        threshold: float64 ``(t,)``, descending; the first is infinite.
        coverage: float64 ``(t,)`` in [0, 1], ascending from 0, mean coverage of the names.
        risk: float64 ``(t,)`` in [0, 1], ascending from 0, share of wrong names.
        area: hAURC, the area below risk over coverage by trapezoids, in [0, 1]; lower is better.
    """

    images: int
    threshold: FloatArray
    coverage: FloatArray
    risk: FloatArray
    area: float


class RiskCoverageCurve:
    r"""Hierarchical risk over hierarchical coverage of the climbing rule, at all thresholds.

    .. math:: \text{coverage}(v) = 1 - \frac{H(v)}{H(\text{root})}, \quad
        H(v) = \log(\text{leaves below } v)

    H is the entropy of a uniform distribution over the leaves on or below a node. At a threshold
    an image is named by the first node on the way from its most probable leaf to the root that
    reaches it. The risk is the share of wrong names among all images, the root being right. A
    name below the truth is cut at it, as in the operating curve. The time of an image is that of
    its way up, after one look for its best leaf; memory is about 24 bytes a step.

    Args:
        taxonomy: The tree, n nodes, at least 2 leaves.

    Raises:
        DataError: A tree with a single leaf, of which nothing can be told.

    Reference:
        Goren, Galil, El-Yaniv, Hierarchical Selective Classification, arXiv 2405.11533, section
        2. Their curves start at the lowest coverage that was observed, this one at 0, where every
        image is named by the root.

    Examples:
        >>> tree = TreeShape(np.array([-1, 0, 0, 1, 1, 2, 2], dtype=np.int32))
        >>> curve = RiskCoverageCurve(tree)
        >>> curve.update([[1, 0.9, 0.1, 0.6, 0.3, 0.1, 0]], [3])
        >>> curve.update([[1, 0.2, 0.8, 0.1, 0.1, 0.3, 0.5]], [5])
        >>> points = curve.compute()
        >>> points.threshold.tolist(), points.coverage.tolist(), points.risk.tolist()
        ([inf, 0.9, 0.8, 0.6, 0.5], [0.0, 0.25, 0.5, 0.75, 1.0], [0.0, 0.0, 0.0, 0.0, 0.5])
        >>> points.area
        0.0625
    """

    def __init__(self, taxonomy: TreeShape) -> None:
        self._taxonomy = taxonomy
        self._coverage = node_coverage(taxonomy)
        self._images = 0
        self._parts: list[FloatArray] = []  # (s, 3): threshold, more coverage, more wrong names

    @property
    def images(self) -> int:
        """How many images were added."""
        return self._images

    def update(self, node_probs: Values, target_nodes: Values) -> None:
        """Add a batch. A batch that is refused leaves the curve as it was.

        Args:
            node_probs: Floats ``(B, n)`` in [0, 1] in node order, NumPy or torch of any device.
            target_nodes: Integers ``(B,)``, the true nodes, at any depth.

        Raises:
            DataError: Shapes that do not fit, NaN, probabilities outside [0, 1] by over 0.001,
                or a node out of range.
        """
        probs = node_probabilities(node_probs, self._taxonomy.size)
        truth = target_indices(target_nodes, self._taxonomy.size, images=len(probs))
        self._parts.append(self._steps(probs, truth))
        self._images += len(probs)

    def merge(self, other: Self) -> None:
        """Add all images of another curve of the same tree.

        Raises:
            DataError: Another tree.
        """
        if not np.array_equal(self._taxonomy.parent, other._taxonomy.parent):
            raise DataError("Curves of another tree do not merge.")
        self._parts += other._parts
        self._images += other._images

    def compute(self) -> RiskCoveragePoints:
        """Return the curve and its area.

        Raises:
            DataError: There are no images.
        """
        if self._images == 0:
            raise DataError("There are no images to judge: call update first.")
        steps = np.concatenate(self._parts)
        threshold, coverage, wrong = steps[np.argsort(-steps[:, 0], kind="stable")].T
        # Equal probabilities are one threshold: it takes all of their steps.
        ends = np.flatnonzero(np.diff(threshold, append=-np.inf) != 0)
        coverage = np.cumsum(np.concatenate([[0.0], coverage]))[np.append(0, ends + 1)]
        wrong = np.cumsum(np.concatenate([[0.0], wrong]))[np.append(0, ends + 1)]
        coverage = np.clip(coverage / self._images, 0.0, 1.0)  # sums end a rounding beyond
        risk = wrong / self._images
        return RiskCoveragePoints(
            images=self._images,
            threshold=np.concatenate([[np.inf], threshold[ends]]),
            coverage=coverage,
            risk=risk,
            area=float(np.trapezoid(risk, coverage)),
        )

    def _steps(self, probs: Probabilities, truth: IntArray) -> FloatArray:
        leaves = self._taxonomy.leaves
        images = np.arange(len(probs))
        node = leaves[probs[:, leaves].argmax(axis=1)]
        highest = np.full(len(probs), -np.inf)  # of the nodes below, which are named up to it
        named = np.full(len(probs), -1)
        parts = []
        for _ in self._taxonomy.level_slices[1:]:
            # A node is named above the thresholds that some node below it reaches already.
            prob = probs[images, node].astype(np.float64)
            is_step = (prob > highest) & (node != 0)
            parts.append(self._gains(images[is_step], node[is_step], named, highest, truth))
            highest[is_step] = prob[is_step]
            named[is_step] = node[is_step]
            node = np.maximum(self._taxonomy.parent[node], 0)
        parts.append(self._gains(images, np.zeros_like(node), named, highest, truth))
        return np.concatenate(parts)

    def _gains(
        self, image: IntArray, node: IntArray, named: IntArray, highest: FloatArray, truth: IntArray
    ) -> FloatArray:
        """Return what is gained by going down from a node to the one named below it."""
        image, node = image[named[image] >= 0], node[named[image] >= 0]
        coverage, wrong = self._figures(named[image], truth[image])
        coverage_above, wrong_above = self._figures(node, truth[image])
        return np.column_stack([highest[image], coverage - coverage_above, wrong - wrong_above])

    def _figures(self, named: IntArray, truth: IntArray) -> tuple[FloatArray, FloatArray]:
        lca = self._taxonomy.lca(named, truth)
        cut = np.where(lca == truth, truth, named)
        return self._coverage[cut], (cut != lca).astype(np.float64)


def node_coverage(taxonomy: TreeShape) -> FloatArray:
    """Return the hierarchical coverage of each node, float64 ``(n,)``: 0 at the root, 1 at leaves.

    Raises:
        DataError: A tree with a single leaf.

    Examples:
        >>> node_coverage(TreeShape(np.array([-1, 0, 0, 1, 1, 2, 2], dtype=np.int32))).tolist()
        [0.0, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0]
    """
    leaves = len(taxonomy.leaves)
    if leaves < 2:
        raise DataError(
            f"Expected a taxonomy with at least 2 leaves, got {leaves}: no name of it tells more "
            "than another."
        )
    return np.asarray(1 - np.log(taxonomy.leaf_count) / np.log(leaves))
