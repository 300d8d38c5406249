"""A softmax among the children of each node: the probability of a node is that of its path."""

from typing import ClassVar, Literal

from torch import Tensor

from taxonet.losses.hierarchical.base import HierarchicalLoss
from taxonet.losses.hierarchical.path_children import path_children
from taxonet.losses.hierarchical.ragged import segment_log_softmax
from taxonet.registry import HIERARCHICAL_LOSSES
from taxonet.taxonomy.propagate import sibling_log_softmax, sum_down


@HIERARCHICAL_LOSSES.register("conditional_softmax")
class ConditionalSoftmaxLoss(HierarchicalLoss):
    """Cross entropy of the product of softmaxes among siblings, from the root to the target.

    ``L = sum_{d=1}^{D} -log softmax over the children of a_{d-1} (s)_{a_d}``, the mean over the
    batch, for the path ``a_0, ..., a_D = y``. The path of a label at an inner node ends there:
    nothing is asked of the scores below it.

    Shape:
        Node scores ``(B, n)``, column 0 ignored; otherwise as `HierarchicalLoss`.

    Args:
        taxonomy: The tree, of n nodes.

    Raises:
        DataError: Scores or targets of a wrong form, when called.

    Reference:
        Redmon and Farhadi 2017, YOLO9000, section 4.

    Examples:
        >>> import torch
        >>> from taxonet.taxonomy import Taxonomy
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> scores = torch.tensor([[9.0, 0.5, 0.5, 0.25, 0.75]]).log()
        >>> loss = ConditionalSoftmaxLoss(tree)
        >>> loss(scores, torch.tensor([3])), loss(scores, torch.tensor([1]))  # log 8, log 2
        (tensor(2.0794), tensor(0.6931))
        >>> loss.node_probabilities(scores)
        tensor([[1.0000, 0.5000, 0.5000, 0.1250, 0.3750]])
    """

    takes: ClassVar[Literal["leaves", "nodes"]] = "nodes"

    def losses(self, scores: Tensor, target_nodes: Tensor) -> Tensor:
        """Return minus the log-probability of the path of each image ``(B,)``."""
        children = path_children(self.taxonomy, target_nodes)
        logs = segment_log_softmax(
            scores[children.image, children.node], children.step, children.steps
        )
        image = children.image[children.chosen]
        return -scores.new_zeros(len(scores)).index_add(0, image, logs[children.chosen])

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the product of the softmaxes down to each node ``(B, n)``."""
        return sum_down(self.taxonomy, sibling_log_softmax(self.taxonomy, scores)).exp()
