"""Cross entropy of every step down the tree, a step weighing less the deeper it is: HXE."""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from taxonet.losses.checks import check_number
from taxonet.losses.hierarchical.base import HierarchicalLoss
from taxonet.losses.hierarchical.branches import log1p_exp, logsumexp_by_depth
from taxonet.losses.hierarchical.common_ancestor import at_common_ancestors_of_leaves, depths_on
from taxonet.losses.hierarchical.leaf_softmax import leaf_to_node_probabilities
from taxonet.registry import HIERARCHICAL_LOSSES
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import paths_to


@HIERARCHICAL_LOSSES.register("hierarchical_cross_entropy")
class HierarchicalCrossEntropyLoss(HierarchicalLoss):
    """Hierarchical cross entropy (HXE): the steps down to the target, weighted by their depth.

    ``L = sum_{d=0}^{D-1} e^{-alpha d} (-log P(a_{d+1} | a_d))``, the mean over the batch, for the
    path ``a_0, ..., a_D = y`` from the root to the target. ``P(child | parent)`` follows from a
    softmax over the leaves, summed upwards, so that with ``alpha = 0`` the loss is that of
    `FlatSoftmaxLoss`. A larger ``alpha`` forgives mistakes deep in the tree.

    Shape:
        Leaf scores ``(B, c)``; otherwise as `HierarchicalLoss`.

    Args:
        taxonomy: The tree, of n nodes, c of them leaves.
        alpha: How fast the weight falls with the depth of the parent, per edge, at least 0.

    Raises:
        ConfigError: An alpha that is not finite and at least 0.
        DataError: Scores or targets of a wrong form, when called.

    Reference:
        Bertinetto et al. 2020, Making Better Mistakes, section 3.1. They print the height of a
        node in the weight; the depth of the parent is that of Valmadre's code.

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> scores = torch.tensor([[0.5, 0.25, 0.25]]).log()  # leaves c, d, e
        >>> HierarchicalCrossEntropyLoss(tree, alpha=0.0)(scores, torch.tensor([3]))  # log 4
        tensor(1.3863)
        >>> HierarchicalCrossEntropyLoss(tree, alpha=0.5)(scores, torch.tensor([3]))
        tensor(1.1136)
    """

    takes: ClassVar[Literal["leaves", "nodes"]] = "leaves"

    def __init__(self, taxonomy: Taxonomy, *, alpha: float = 0.1) -> None:
        super().__init__(taxonomy)
        self.alpha = check_number("alpha", alpha, at_least=0)

    def losses(self, scores: Tensor, target_nodes: Tensor) -> Tensor:
        """Return the weighted steps of each image ``(B,)``."""
        paths, on_path = paths_to(self.taxonomy, target_nodes)
        depths = at_common_ancestors_of_leaves(self.taxonomy, paths, depths_on(paths))
        # What leaves the path at each depth; at the target's own depth, what is below it.
        turning = logsumexp_by_depth(scores, depths, paths.shape[1])
        staying = turning.flip(1).logcumsumexp(1).flip(1)
        # log(parent / child) = log(1 + what turns off / child): no difference of large numbers.
        steps = log1p_exp(turning[:, :-1] - staying[:, 1:])
        weights = torch.exp(-self.alpha * depths_on(paths[:, :-1])).to(scores)
        return (steps * weights * on_path[:, 1:]).sum(1)

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the softmax over the leaves, summed upwards ``(B, n)``."""
        return leaf_to_node_probabilities(self.taxonomy, scores.softmax(1))
