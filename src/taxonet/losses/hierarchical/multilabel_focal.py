"""A sigmoid for each node on its own, with the focal loss over all of them."""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from taxonet.errors import ConfigError
from taxonet.losses.checks import check_number
from taxonet.losses.hierarchical.base import HierarchicalLoss
from taxonet.registry import HIERARCHICAL_LOSSES
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import paths_to


class _FocalSum(torch.autograd.Function):
    """The weighted terms of all nodes but the root, summed; composed of plain steps it costs twice.

    All nodes are taken for wrong ones first, and those of the path are then written over.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, paths: Tensor, alpha: float, gamma: float) -> Tensor:
        terms, slopes = _terms_and_slopes(scores, gamma)
        right, right_slopes = _terms_and_slopes(-scores.gather(1, paths), gamma)
        terms.mul_(1 - alpha).scatter_(1, paths, alpha * right)
        slopes.mul_(1 - alpha).scatter_(1, paths, -alpha * right_slopes)
        terms[:, 0] = 0
        slopes[:, 0] = 0
        ctx.save_for_backward(slopes)
        return terms.sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (slopes,) = ctx.saved_tensors
        return slopes * grad.unsqueeze(1), None, None, None


def _terms_and_slopes(values: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """Return ``sigmoid(x)^gamma log(1 + e^x)``, about 0 below 0 and x above, and its slope."""
    missed, losses = values.sigmoid(), F.softplus(values)
    factor = missed**gamma
    slopes = (1 - missed).mul_(losses).mul_(gamma).add_(missed).mul_(factor)
    return losses.mul_(factor), slopes


@HIERARCHICAL_LOSSES.register("multilabel_focal")
class MultilabelFocalLoss(HierarchicalLoss):
    """Focal binary cross entropy of every node but the root: is the image of this taxon?

    ``L = sum_v w_v (1 - p_v)^gamma (-log p_v)``, the mean over the batch, where ``p_v`` is
    ``sigmoid(s_v)`` and ``w_v = alpha`` for the target and its ancestors, ``1 - sigmoid(s_v)`` and
    ``w_v = 1 - alpha`` for all other nodes. For a label at an inner node, the nodes below it count
    as wrong.

    Shape:
        Node scores ``(B, n)``, column 0 ignored; otherwise as `HierarchicalLoss`.

    Args:
        taxonomy: The tree, of n nodes.
        alpha: The weight of the nodes on the path, in [0, 1].
        gamma: How much less counts what is nearly right, at least 0.

    Raises:
        ConfigError: An option outside its range.
        DataError: Scores or targets of a wrong form, when called.

    Reference:
        Lin et al. 2017, Focal Loss for Dense Object Detection, eq. 5, with one label a node as
        Valmadre 2022 has it; alpha and gamma are theirs.

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> loss = MultilabelFocalLoss(tree)
        >>> loss(torch.zeros(1, 5), torch.tensor([3]))  # (0.25 + 0.75 + 0.25 + 0.75) log 2 / 4
        tensor(0.3466)
    """

    takes: ClassVar[Literal["leaves", "nodes"]] = "nodes"

    def __init__(self, taxonomy: Taxonomy, *, alpha: float = 0.25, gamma: float = 2.0) -> None:
        super().__init__(taxonomy)
        if not 0 <= alpha <= 1:
            raise ConfigError(f"alpha must be a share in [0, 1], but is {alpha}.")
        self.alpha = float(alpha)
        self.gamma = check_number("gamma", gamma, at_least=0)

    def losses(self, scores: Tensor, target_nodes: Tensor) -> Tensor:
        """Return the focal terms of each image, summed ``(B,)``."""
        paths, _ = paths_to(self.taxonomy, target_nodes)
        result: Tensor = _FocalSum.apply(  # type: ignore[no-untyped-call]
            scores, paths, self.alpha, self.gamma
        )
        return result

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the sigmoid of each score ``(B, n)``."""
        return scores.sigmoid()
