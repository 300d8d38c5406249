"""Cross entropy of a softmax over the leaves."""

from typing import ClassVar, Literal

from torch import Tensor

from taxonet.losses.hierarchical.base import HierarchicalLoss
from taxonet.losses.hierarchical.leaf_softmax import leaf_to_node_probabilities, leaves_below
from taxonet.losses.hierarchical.picked import picked_log_softmax
from taxonet.losses.hierarchical.ragged import segment_logsumexp
from taxonet.registry import HIERARCHICAL_LOSSES


@HIERARCHICAL_LOSSES.register("flat_softmax")
class FlatSoftmaxLoss(HierarchicalLoss):
    """Cross entropy of a softmax over the leaves, which knows the tree by its labels alone.

    ``L = -log P(y)``, the mean over the batch, with ``P(v) = sum of softmax(s) over the leaves
    below v``. For a label at a leaf that is cross entropy; a label at an inner node asks for one
    of the leaves below it, whichever, and costs nothing at the root.

    Shape:
        Leaf scores ``(B, c)``; otherwise as `HierarchicalLoss`.

    Args:
        taxonomy: The tree, of n nodes, c of them leaves.

    Raises:
        DataError: Scores or targets of a wrong form, when called.

    Reference:
        Valmadre 2022, Hierarchical Classification at Multiple Operating Points, section 3.

    Examples:
        >>> import torch
        >>> from taxonet.taxonomy import Taxonomy
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> scores = torch.tensor([[0.5, 0.25, 0.25]]).log()  # leaves c, d, e
        >>> loss = FlatSoftmaxLoss(tree)
        >>> loss(scores, torch.tensor([1])), loss(scores, torch.tensor([3]))  # log 2, log 4
        (tensor(0.6931), tensor(1.3863))
        >>> loss.node_probabilities(scores)
        tensor([[1.0000, 0.5000, 0.5000, 0.2500, 0.2500]])
    """

    takes: ClassVar[Literal["leaves", "nodes"]] = "leaves"

    def losses(self, scores: Tensor, target_nodes: Tensor) -> Tensor:
        """Return minus the log-probability of the leaves below each target ``(B,)``."""
        leaf, image = leaves_below(self.taxonomy, target_nodes)
        logs = picked_log_softmax(scores, image, leaf)
        return -segment_logsumexp(logs, image, len(scores))

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the softmax over the leaves, summed upwards ``(B, n)``."""
        return leaf_to_node_probabilities(self.taxonomy, scores.softmax(1))
