"""A softmax over all nodes in which what is far from the target must lose by more."""

from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from taxonet.errors import ConfigError
from taxonet.losses.checks import check_number
from taxonet.losses.hierarchical.base import HierarchicalLoss
from taxonet.losses.hierarchical.common_ancestor import at_common_ancestors
from taxonet.losses.hierarchical.node_softmax import subtree_probabilities
from taxonet.losses.hierarchical.picked import picked_log_softmax
from taxonet.registry import HIERARCHICAL_LOSSES
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import paths_to

Margin = Literal["edge", "information"]


@HIERARCHICAL_LOSSES.register("soft_max_margin")
class SoftMaxMarginLoss(HierarchicalLoss):
    """Cross entropy over all nodes, with a margin that grows with the distance from the target.

    ``L = -s_y + log sum_v e^{s_v + tau m(y, v)}``, the mean over the batch, v running over all
    nodes, the root and the inner ones included, and ``m(y, v) = h(y) + h(v) - 2 h(lca(y, v))``.
    For ``"edge"``, h is the depth and m the number of edges between the two; for
    ``"information"``, ``h(v) = -log(leaves below v / leaves)`` in nats.

    At prediction, the probability of a node is the softmax over all nodes, without margins, summed
    over the node and all below it.

    Shape:
        Node scores ``(B, n)``, the root's counts; otherwise as `HierarchicalLoss`.

    Args:
        taxonomy: The tree, of n nodes.
        margin: ``"edge"`` or ``"information"``.
        tau: The factor on the distance, at least 0; with 0 it is cross entropy over the nodes.

    Raises:
        ConfigError: An option outside its range.
        DataError: Scores or targets of a wrong form, when called.

    Reference:
        Valmadre 2022, Hierarchical Classification at Multiple Operating Points, section 4.

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> loss = SoftMaxMarginLoss(tree)
        >>> loss(torch.zeros(1, 5), torch.tensor([3]))  # log(e^2 + e^1 + e^3 + e^0 + e^2)
        tensor(3.6528)
        >>> SoftMaxMarginLoss(tree, tau=0.0)(torch.zeros(1, 5), torch.tensor([3]))  # log 5
        tensor(1.6094)
        >>> loss.node_probabilities(torch.zeros(1, 5))
        tensor([[1.0000, 0.6000, 0.2000, 0.2000, 0.2000]])
    """

    takes: ClassVar[Literal["leaves", "nodes"]] = "nodes"
    reads_root: ClassVar[bool] = True
    heights: Tensor

    def __init__(self, taxonomy: Taxonomy, *, margin: Margin = "edge", tau: float = 1.0) -> None:
        super().__init__(taxonomy)
        if margin not in ("edge", "information"):
            raise ConfigError(f"margin must be 'edge' or 'information', but is {margin!r}.")
        self.margin = margin
        self.tau = check_number("tau", tau, at_least=0)
        bits_or_edges = taxonomy.depth if margin == "edge" else taxonomy.information * np.log(2)
        heights = torch.tensor(bits_or_edges, dtype=torch.float32)
        self.register_buffer("heights", heights, persistent=False)

    def losses(self, scores: Tensor, target_nodes: Tensor) -> Tensor:
        """Return the cross entropy of each image after the margins ``(B,)``."""
        paths, _ = paths_to(self.taxonomy, target_nodes)
        heights = self.tau * self.heights.to(scores)
        # The target's own tau h(y) is the same for all nodes and cancels in the softmax.
        margins = at_common_ancestors(self.taxonomy, paths, -2 * heights[paths]).add_(heights)
        rows = torch.arange(len(scores), device=scores.device)
        return -picked_log_softmax(scores + margins, rows, target_nodes)

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the softmax over all nodes, summed upwards ``(B, n)``."""
        return subtree_probabilities(self.taxonomy, scores)
