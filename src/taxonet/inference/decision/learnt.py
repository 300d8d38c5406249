"""Policies that learn one number from all node probabilities of the calibration images."""

from abc import abstractmethod
from typing import Self

import torch
from numpy.typing import ArrayLike

from taxonet.inference.decision.inputs import check_images
from taxonet.inference.decision.likely import IntArray
from taxonet.inference.decision.policy import FoundT, Policy
from taxonet.inference.decision.truth import checked_truth
from taxonet.taxonomy import Taxonomy


class LearntPolicy(Policy[FoundT]):
    """The base of these policies; a subclass says what it learns in `_learn`."""

    def fit(self, node_probs: torch.Tensor, target_nodes: ArrayLike, taxonomy: Taxonomy) -> Self:
        """Learn from calibration images, which were not trained on, and return the policy.

        Args:
            node_probs: Node probabilities ``(B, n)`` with 1 at the root.
            target_nodes: Integers ``(B,)``, the true nodes, at any depth.
            taxonomy: The tree, n nodes.

        Raises:
            DataError: No images, no node probabilities, or lengths that differ.
            ConfigError: The policy is fitted already.
        """
        self._unfitted()
        truth = checked_truth(target_nodes, len(node_probs), taxonomy)
        check_images(len(truth))
        self._found = self._learn(node_probs, truth, taxonomy)
        return self

    @abstractmethod
    def _learn(self, node_probs: torch.Tensor, truth: IntArray, taxonomy: Taxonomy) -> FoundT:
        """Return what the policy keeps of the calibration images; true nodes are checked."""
