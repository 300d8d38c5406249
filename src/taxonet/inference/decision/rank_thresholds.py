"""Fixed thresholds, one a rank: the rule that many tools have."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike

from taxonet.errors import ConfigError
from taxonet.inference.decision.inputs import check_images, likely_of
from taxonet.inference.decision.likely import (
    LOWEST_THRESHOLD_PROB,
    FloatArray,
    IntArray,
    LikelyNodes,
)
from taxonet.inference.decision.naming import deepest_reaching
from taxonet.inference.decision.policy import Found, Policy
from taxonet.inference.decision.truth import checked_truth
from taxonet.registry import POLICIES
from taxonet.taxonomy import Taxonomy


@POLICIES.register("rank_thresholds")
class RankThresholds(Policy[Found]):
    """Names the deepest node that reaches the fixed threshold of its rank. Promises nothing.

    Nodes of ranks without a threshold, and nodes without a rank, are never named.

    Args:
        thresholds: Probability to reach, in [0.5, 1], by rank.

    Raises:
        ConfigError: No rank, or a threshold outside [0.5, 1].

    Examples:
        >>> import pandas as pd
        >>> table = pd.DataFrame({"genus": ["Acer", "Acer"], "species": ["A. rubrum", "A. mono"]})
        >>> tree = Taxonomy.from_table(table)
        >>> probs = torch.tensor([[1.0, 1.0, 0.25, 0.75], [1.0, 1.0, 0.0625, 0.9375]])
        >>> policy = RankThresholds({"genus": 0.5, "species": 0.9}).fit(probs, [3, 3], tree)
        >>> [tree.names[node] for node in policy.decide(probs, tree)]
        ['Acer', 'A. rubrum']
    """

    kind = "rank_thresholds"
    looks_from_prob = LOWEST_THRESHOLD_PROB
    _found_model = Found

    def __init__(self, thresholds: Mapping[str, float] | None = None) -> None:
        super().__init__()
        if not thresholds:
            raise ConfigError("Expected a threshold for at least one rank, got none.")
        for rank, threshold in thresholds.items():
            if not LOWEST_THRESHOLD_PROB <= threshold <= 1:
                raise ConfigError(
                    f"Expected the threshold of {rank!r} in [0.5, 1], got {threshold}: below 0.5 "
                    "the nodes that reach it do not form one chain."
                )
        self.thresholds = {rank: float(threshold) for rank, threshold in thresholds.items()}

    def options(self) -> dict[str, Any]:
        """Return the thresholds by rank."""
        return {"thresholds": dict(self.thresholds)}

    @property
    def promise(self) -> str:
        """What holds for images like the calibration images, in a few words."""
        return "none: fixed thresholds"

    def fit(
        self,
        node_probs: torch.Tensor | LikelyNodes,
        target_nodes: ArrayLike,
        taxonomy: Taxonomy,
    ) -> Self:
        """Bind the thresholds to a taxonomy. Nothing is learnt from the images.

        Args:
            node_probs: Node probabilities ``(B, n)`` with 1 at the root, or their `LikelyNodes`.
            target_nodes: Integers ``(B,)``, the true nodes.
            taxonomy: The tree, n nodes.

        Raises:
            DataError: No images, no node probabilities, or lengths that differ.
            TaxonomyError: The taxonomy has no such rank.
            ConfigError: The policy is fitted already.
        """
        self._unfitted()
        likely = likely_of(node_probs, taxonomy)
        checked_truth(target_nodes, check_images(likely.n_images), taxonomy)
        self.check_ranks(taxonomy)
        self._found = Found(taxonomy=taxonomy.digest)
        return self

    def check_ranks(self, taxonomy: Taxonomy) -> None:
        """Raise a TaxonomyError unless the taxonomy has every rank that has a threshold."""
        for rank in self.thresholds:
            taxonomy.at_rank(rank)

    def decide(self, node_probs: torch.Tensor | LikelyNodes, taxonomy: Taxonomy) -> IntArray:
        """Return the node to name for each image, int64 ``(B,)``; 0 names nothing.

        Raises:
            DataError: Another taxonomy, or no node probabilities.
            ConfigError: The policy is not fitted.
        """
        self._found_for(taxonomy)
        likely = likely_of(node_probs, taxonomy)
        reached = likely.prob >= self._threshold_of_nodes(taxonomy)[likely.node]
        named = LikelyNodes(
            likely.n_images, likely.image[reached], likely.node[reached], likely.prob[reached]
        )
        return deepest_reaching(taxonomy, named, threshold_prob=LOWEST_THRESHOLD_PROB)

    def _threshold_of_nodes(self, taxonomy: Taxonomy) -> FloatArray:
        thresholds = np.full(len(taxonomy), np.inf)
        for rank, threshold in self.thresholds.items():
            thresholds[taxonomy.at_rank(rank)] = threshold
        return thresholds
