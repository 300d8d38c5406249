"""Experts that learn from the images and from one another: nested collaborative learning."""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from taxonet.errors import ConfigError
from taxonet.losses.base import Loss
from taxonet.losses.checks import ClassCounts, check_class_counts, check_number
from taxonet.losses.classification import cross_entropy_loss
from taxonet.losses.dbm import DBMLoss
from taxonet.losses.experts import ExpertLoss
from taxonet.losses.logit_adjustment import BalancedSoftmaxLoss
from taxonet.registry import EXPERT_LOSSES

Base = Literal["bs", "dbm-bs"]


def hard_class_mask(scores: Tensor, target: Tensor, *, hard_classes: int) -> Tensor:
    """Return which classes are hard for each image ``(B, c)``: the target and the best others.

    Examples:
        >>> scores = torch.tensor([[0.1, 0.9, 0.5, 0.3]])
        >>> hard_class_mask(scores, torch.tensor([0]), hard_classes=2)
        tensor([[ True,  True, False, False]])
    """
    first = scores.detach().scatter(1, target.unsqueeze(1), math.inf)
    chosen = first.topk(hard_classes, dim=1).indices
    return torch.zeros_like(scores, dtype=torch.bool).scatter(1, chosen, True)


def mutual_divergence(logits_of_experts: Sequence[Tensor]) -> Tensor:
    """Return how far apart the answers of the experts are, a scalar of at least 0, in nats.

    The sum over ordered pairs of ``KL(p_j || p_i)``, the mean over the batch, divided by the number
    of experts less 1. Gradient runs through both.

    Examples:
        >>> one, other = torch.tensor([[0.0, 0.0]]), torch.tensor([[math.log(3.0), 0.0]])
        >>> mutual_divergence([one, other])  # (log 3) / 4, both ways
        tensor(0.2747)
    """
    log_probs = [logits.log_softmax(1) for logits in logits_of_experts]
    divergences = [
        F.kl_div(learner, teacher, reduction="batchmean", log_target=True)
        for learner in log_probs
        for teacher in log_probs
        if teacher is not learner
    ]
    return torch.stack(divergences).sum() / (len(log_probs) - 1)


@EXPERT_LOSSES.register("nested_collaborative")
class NestedCollaborativeLoss(ExpertLoss):
    """Balanced softmax for every expert and mutual distillation, both on all and on hard classes.

    ``L = sum_i [ CE(a_i) + CE(h_i) ] + factor [ M(a_1, a_2, ...) + M(h_1, h_2, ...) ]``, where

    - ``a_i`` are the adjusted logits of expert i: ``l_k + log N_k`` (``base="bs"``), or the scaled,
      margined cosines plus ``log N_k`` (``base="dbm-bs"``, DBM-NCL);
    - ``h_i`` are the same on the hard classes of the image, and 0 on all others. Hard are the
      target and the classes of which the first expert is most confident, by its scores as given,
      without priors and margins, ``hard_classes`` in all;
    - M is `mutual_divergence`. It sees the adjusted logits, margins included, not the plain ones.

    Since the others are 0, not left out, they keep a share of ``h_i``'s softmax, and a common shift
    of the adjusted logits would change it: so the priors here are ``log N_k`` and not the log
    shares, which make no difference to the rest. With ``hard_classes`` = c both halves are equal.

    Differs from the authors' code: log-softmax in place of the logarithm of a softmax plus 1e-9;
    the number of hard classes is not tied to a data set (they take 30 % of the classes); their
    optional contrastive term and moving-average networks are no part of it. The paper takes the
    softmax over the hard classes alone; the zeros are as in their code, and in that of DBM-NCL.

    Shape:
        As `ExpertLoss`; logits for ``base="bs"``, cosines for ``base="dbm-bs"``.

    Args:
        class_counts: Training images of each class, integers ``(c,)``, each at least 1, c >= 2.
        hard_classes: How many classes are hard, the target included, from 1 to c.
        factor: The weight of the mutual terms, at least 0.
        base: ``"bs"`` or ``"dbm-bs"``.
        max_margin_rad: The margin of the rarest class in radians, for ``"dbm-bs"``; see `DBMLoss`.

    Raises:
        ConfigError: An option outside its range.
        DataError: Counts, scores or targets of a wrong form; fewer than 2 experts.

    Reference:
        Li et al. 2022, Nested Collaborative Learning for Long-Tailed Visual Recognition; Son et al.
        2025, Difficulty-aware Balancing Margin Loss for Long-tailed Recognition, for ``"dbm-bs"``.

    Examples:
        >>> loss = NestedCollaborativeLoss([1, 1], hard_classes=1, factor=1.0)
        >>> scores = torch.tensor([[math.log(3.0), 0.0]])
        >>> loss([scores, scores], torch.tensor([0]))  # 4 log(4 / 3)
        tensor(1.1507)
    """

    def __init__(
        self,
        class_counts: ClassCounts,
        *,
        hard_classes: int,
        factor: float = 0.6,
        base: Base = "bs",
        max_margin_rad: float = 0.1,
    ) -> None:
        super().__init__(class_counts)
        if base not in get_args(Base):
            raise ConfigError(f"base must be 'bs' or 'dbm-bs', but is {base!r}.")
        if not 1 <= hard_classes <= self.classes:
            raise ConfigError(
                f"hard_classes must be from 1 to {self.classes}, the number of classes, but is "
                f"{hard_classes}."
            )
        self.hard_classes = hard_classes
        self.factor = check_number("factor", factor, at_least=0)
        self.base = base
        self.max_margin_rad = max_margin_rad
        self.balanced: Loss = (
            BalancedSoftmaxLoss(class_counts)
            if base == "bs"
            else DBMLoss(class_counts, max_margin_rad=max_margin_rad, base="bs")
        )
        self.takes = self.balanced.takes
        self.scale = self.balanced.scale
        self.log_images = math.log(int(check_class_counts(class_counts).sum()))

    def joint(self, scores_of_experts: Sequence[Tensor], target: Tensor) -> Tensor:
        """Return the loss of a checked batch, a scalar."""
        hard = hard_class_mask(scores_of_experts[0], target, hard_classes=self.hard_classes)
        # The balanced loss adds log(N_k / N); log N makes it log N_k.
        on_all = [
            self.balanced.adjusted(scores, target) + self.log_images for scores in scores_of_experts
        ]
        on_hard = [logits.where(hard, 0.0) for logits in on_all]
        losses = [cross_entropy_loss(logits, target) for logits in (*on_all, *on_hard)]
        mutual = mutual_divergence(on_all) + mutual_divergence(on_hard)
        return torch.stack(losses).sum() + self.factor * mutual
