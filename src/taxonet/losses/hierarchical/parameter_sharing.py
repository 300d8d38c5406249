"""A softmax over leaves whose scores are shared along the way from the root."""

from typing import ClassVar, Literal

from torch import Tensor

from taxonet.losses.hierarchical.base import HierarchicalLoss
from taxonet.losses.hierarchical.leaf_softmax import leaf_to_node_probabilities, leaves_below
from taxonet.losses.hierarchical.picked import picked_log_softmax
from taxonet.losses.hierarchical.ragged import segment_logsumexp
from taxonet.losses.hierarchical.shared_scores import shared_scores
from taxonet.registry import HIERARCHICAL_LOSSES


@HIERARCHICAL_LOSSES.register("parameter_sharing_softmax")
class ParameterSharingSoftmaxLoss(HierarchicalLoss):
    """Cross entropy over the leaves, the score of a leaf being the sum on the way to it.

    ``L = -log P(y)``, the mean over the batch, with ``P(v) = sum of softmax(t) over the leaves
    below v`` and ``t_k = sum of s_a over the leaf k and its ancestors but the root``. So the score
    of a genus moves all its species at once, and rare species learn from their relatives.

    Shape:
        Node scores ``(B, n)``, column 0 ignored; otherwise as `HierarchicalLoss`.

    Args:
        taxonomy: The tree, of n nodes.

    Raises:
        DataError: Scores or targets of a wrong form, when called.

    Reference:
        Wu et al. 2020, Solving Long-Tailed Recognition with Deep Realistic Taxonomic Classifier,
        section 3.3; Valmadre 2022 names it PS softmax.

    Examples:
        >>> import torch
        >>> from taxonet.taxonomy import Taxonomy
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> scores = torch.tensor([[9.0, 0.5, 0.5, 0.5, 0.5]]).log()  # c 1/2, d 1/4, e 1/4
        >>> loss = ParameterSharingSoftmaxLoss(tree)
        >>> loss(scores, torch.tensor([3])), loss(scores, torch.tensor([1]))  # log 4, log 2
        (tensor(1.3863), tensor(0.6931))
        >>> loss.node_probabilities(scores)
        tensor([[1.0000, 0.5000, 0.5000, 0.2500, 0.2500]])
    """

    takes: ClassVar[Literal["leaves", "nodes"]] = "nodes"

    def losses(self, scores: Tensor, target_nodes: Tensor) -> Tensor:
        """Return minus the log-probability of the leaves below each target ``(B,)``."""
        leaf, image = leaves_below(self.taxonomy, target_nodes)
        leaf_scores = shared_scores(self.taxonomy, scores, leaves_only=True)
        logs = picked_log_softmax(leaf_scores, image, leaf)
        return -segment_logsumexp(logs, image, len(scores))

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the softmax over the leaves, summed upwards ``(B, n)``."""
        leaf_scores = shared_scores(self.taxonomy, scores, leaves_only=True)
        return leaf_to_node_probabilities(self.taxonomy, leaf_scores.softmax(1))
