"""A sigmoid for each node given its parent: the probability of a node is that of its path."""

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from taxonet.losses.hierarchical.base import HierarchicalLoss
from taxonet.losses.hierarchical.branches import log1p_exp
from taxonet.losses.hierarchical.path_children import path_children
from taxonet.registry import HIERARCHICAL_LOSSES
from taxonet.taxonomy.propagate import sum_down


@HIERARCHICAL_LOSSES.register("conditional_sigmoid")
class ConditionalSigmoidLoss(HierarchicalLoss):
    """Binary cross entropy of the nodes that the way to the target decides about.

    ``L = sum_{v in path} log(1 + e^{-s_v}) + sum_{v beside path} log(1 + e^{s_v})``, the mean over
    the batch: the target and its ancestors but the root shall be on, the other children of its
    ancestors off. Nodes elsewhere do not matter, and neither do the children of a label at an
    inner node: one of them is right, and nobody knows which.

    Shape:
        Node scores ``(B, n)``, column 0 ignored; otherwise as `HierarchicalLoss`.

    Args:
        taxonomy: The tree, of n nodes.

    Raises:
        DataError: Scores or targets of a wrong form, when called.

    Reference:
        Brust and Denzler 2019, Integrating Domain Knowledge: Using Hierarchies to Improve Deep
        Classifiers, section 3.

    Examples:
        >>> from taxonet.taxonomy import Taxonomy
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> loss = ConditionalSigmoidLoss(tree)
        >>> loss(torch.zeros(1, 5), torch.tensor([3]))  # b, c, d, e: 4 log 2
        tensor(2.7726)
        >>> loss.node_probabilities(torch.zeros(1, 5))
        tensor([[1.0000, 0.5000, 0.5000, 0.2500, 0.2500]])
    """

    takes: ClassVar[Literal["leaves", "nodes"]] = "nodes"

    def losses(self, scores: Tensor, target_nodes: Tensor) -> Tensor:
        """Return the binary cross entropies of each image, summed ``(B,)``."""
        children = path_children(self.taxonomy, target_nodes)
        signs = scores.new_ones(len(children.node)).index_fill(0, children.chosen, -1)
        terms = log1p_exp(signs * scores[children.image, children.node])
        return scores.new_zeros(len(scores)).index_add(0, children.image, terms)

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the product of the sigmoids down to each node ``(B, n)``, the root's left out."""
        root = torch.zeros_like(scores[:, :1])
        return sum_down(self.taxonomy, torch.cat((root, F.logsigmoid(scores[:, 1:])), dim=1)).exp()
