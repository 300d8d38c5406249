"""Cross entropy against soft labels: leaves count the more, the closer they are to the target."""

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from taxonet.losses.checks import check_number
from taxonet.losses.hierarchical.base import HierarchicalLoss
from taxonet.losses.hierarchical.common_ancestor import at_common_ancestors_of_leaves
from taxonet.losses.hierarchical.leaf_softmax import leaf_to_node_probabilities
from taxonet.registry import HIERARCHICAL_LOSSES
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import paths_to


class _CrossEntropy(torch.autograd.Function):
    """That of targets whose rows sum to 1; composed of plain steps it costs half as much again."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, targets: Tensor) -> Tensor:
        shifted = scores - scores.amax(1, keepdim=True)
        probs = shifted.softmax(1)
        # The largest probability is 1 / sum of e^shifted.
        losses = -probs.amax(1).log() - shifted.mul_(targets).sum(1)
        ctx.save_for_backward(probs.sub_(targets))
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (slopes,) = ctx.saved_tensors
        return slopes * grad.unsqueeze(1), None


def relative_heights(taxonomy: Taxonomy) -> Tensor:
    """Return the height of each node over that of the tree, float64 ``(n,)`` in [0, 1].

    The height is the number of edges down to the deepest leaf below; 0 for a leaf.

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> relative_heights(tree)
        tensor([1.0000, 0.5000, 0.0000, 0.0000, 0.0000], dtype=torch.float64)
    """
    heights = np.zeros(len(taxonomy))
    for level in reversed(taxonomy.level_slices[1:]):
        np.maximum.at(heights, taxonomy.parent[level], heights[level] + 1)
    return torch.from_numpy(heights / max(heights[0], 1))


@HIERARCHICAL_LOSSES.register("soft_labels")
class SoftLabelLoss(HierarchicalLoss):
    """Cross entropy of the leaf softmax against targets that fall with the distance in the tree.

    ``L = -sum_k q_k log softmax(s)_k``, the mean over the batch, with ``q_k`` proportional to
    ``exp(-beta h(lca(y, k)) / h(root))``, h being the height of a node: edges down to the deepest
    leaf below. A large ``beta`` is cross entropy, ``beta = 0`` asks for all leaves alike. For a
    label at an inner node, the leaves below it share the largest target.

    Shape:
        Leaf scores ``(B, c)``; otherwise as `HierarchicalLoss`.

    Args:
        taxonomy: The tree, of n nodes, c of them leaves.
        beta: How fast the target falls, at least 0; the authors try 4 to 30.

    Raises:
        ConfigError: A beta that is not finite and at least 0.
        DataError: Scores or targets of a wrong form, when called.

    Reference:
        Bertinetto et al. 2020, Making Better Mistakes, section 3.2.

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> scores = torch.tensor([[0.5, 0.25, 0.25]]).log()  # leaves c, d, e
        >>> loss = SoftLabelLoss(tree, beta=2.0)
        >>> loss.targets(torch.tensor([3]))  # e^-2, 1, e^-1 over their sum
        tensor([[0.0900, 0.6652, 0.2447]])
        >>> loss(scores, torch.tensor([3]))
        tensor(1.3239)
    """

    takes: ClassVar[Literal["leaves", "nodes"]] = "leaves"
    heights: Tensor
    leaf_count: Tensor

    def __init__(self, taxonomy: Taxonomy, *, beta: float = 10.0) -> None:
        super().__init__(taxonomy)
        self.beta = check_number("beta", beta, at_least=0)
        self.register_buffer("heights", relative_heights(taxonomy).float(), persistent=False)
        leaf_count = torch.tensor(taxonomy.leaf_count, dtype=torch.float32)
        self.register_buffer("leaf_count", leaf_count, persistent=False)

    def targets(self, target_nodes: Tensor) -> Tensor:
        """Return the soft labels of each image, ``(B, c)``; each row sums to 1."""
        paths, _ = paths_to(self.taxonomy, target_nodes)
        climbed = self.heights[paths] - self.heights[target_nodes].unsqueeze(1)
        raw = torch.exp(-self.beta * climbed)
        # The leaves that leave the path at a node; a repeated node has none but the first time.
        below = self.leaf_count[paths]
        leaving = torch.cat((below[:, :-1] - below[:, 1:], below[:, -1:]), dim=1)
        total = torch.linalg.vecdot(raw, leaving).unsqueeze(1)
        return at_common_ancestors_of_leaves(self.taxonomy, paths, raw / total)

    def losses(self, scores: Tensor, target_nodes: Tensor) -> Tensor:
        """Return the cross entropy of each image with its soft labels ``(B,)``."""
        targets = self.targets(target_nodes).to(scores)
        result: Tensor = _CrossEntropy.apply(scores, targets)  # type: ignore[no-untyped-call]
        return result

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the softmax over the leaves, summed upwards ``(B, n)``."""
        return leaf_to_node_probabilities(self.taxonomy, scores.softmax(1))
