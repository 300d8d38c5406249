"""How well every rollup names nodes of the tree, side by side."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from taxonet.classifier import TaxonClassifier
from taxonet.inference.rollup_choice import Rollup, TreeScores
from taxonet.metrics import OperatingCurve, OperatingPoints, lca_heights
from taxonet.registry import ROLLUPS

IntArray = NDArray[np.int64]


class RollupCurves:
    """Operating curves and mistakes of each rollup that makes sense for a classifier's head.

    All are of the tree that the classes and their ancestors make, since nothing else can be named.

    Args:
        classifier: What is judged.
    """

    def __init__(self, classifier: TaxonClassifier) -> None:
        self._reading = classifier.reading
        blank = self._reading.tree_scores(torch.zeros(1, self._reading.columns))
        made: dict[str, Rollup] = {name: ROLLUPS.build(name, {}) for name in ROLLUPS.names()}
        self._rollups = {name: one for name, one in made.items() if one.why_not(blank) is None}
        self.left_out = {
            name: reason for name, one in made.items() if (reason := one.why_not(blank)) is not None
        }
        self._leaves = torch.tensor(self._reading.tree.leaves)
        self._nodes = self._reading.tree_nodes.numpy()
        self._curves = {name: OperatingCurve(self._reading.tree) for name in self._rollups}
        self._heights: dict[str, list[int]] = {name: [] for name in self._rollups}

    def update(self, scores: TreeScores, truth_nodes: IntArray) -> None:
        """Add a batch: what the head says of it, and the true class nodes ``(B,)``."""
        tree = self._reading.tree
        truth = np.searchsorted(self._nodes, truth_nodes)
        for name, rollup in self._rollups.items():
            # Sums of float32 may end a rounding beyond 1.
            probs = rollup(scores).clamp(0, 1)
            self._curves[name].update(probs, truth)
            best = self._leaves[probs[:, self._leaves].argmax(dim=1)].numpy()
            self._heights[name] += lca_heights(best, truth, tree).tolist()

    def points(self) -> dict[str, OperatingPoints]:
        """Return the curve of each rollup, by name; empty without images."""
        return {name: curve.compute() for name, curve in self._curves.items() if curve.images}

    def figures(self) -> dict[str, dict[str, Any]]:
        """Return the figures of each rollup, by name.

        Besides those of the curve there are ``mistake_severity``, the mean height of the lowest
        common ancestor over the wrong leaves (None without any), and ``hierarchical_distance``,
        the same over all leaves.
        """
        found = {}
        for name, points in self.points().items():
            heights = np.array(self._heights[name])
            wrong = heights[heights > 0]
            found[name] = {
                **points.metrics,
                "mistake_severity": float(wrong.mean()) if len(wrong) else None,
                "hierarchical_distance": float(heights.mean()),
            }
        return found
