"""Contrast in which every class weighs the same: balanced contrastive learning."""

import math

import torch
from torch import Tensor

from taxonet.losses.checks import ClassCounts
from taxonet.losses.contrastive import (
    ContrastiveLoss,
    all_views,
    check_temperature,
    inner_products,
    masked_mean,
)
from taxonet.registry import CONTRASTIVE_LOSSES


def balanced_contrastive_loss(
    class_centers: Tensor, views: Tensor, target: Tensor, *, temperature: float
) -> Tensor:
    """Return the mean balanced contrastive loss of a batch; see `BalancedContrastiveLoss`."""
    anchors, anchor_labels = all_views(views, target)
    centers = torch.arange(len(class_centers), device=target.device)
    labels = torch.cat([anchor_labels, centers])
    logits = inner_products(anchors, torch.cat([anchors, class_centers])) / temperature
    same_class = anchor_labels[:, None] == labels  # (2 B, 2 B + c)
    itself = torch.eye(len(anchors), len(labels), dtype=torch.bool, device=target.device)
    # The centre counts as one, so that no class is empty, an anchor's own without it included.
    members = torch.bincount(labels, minlength=len(class_centers))
    compared_with = members[labels] - same_class.to(members)
    averaged = logits - compared_with.to(logits).log()
    log_probs = logits - averaged.masked_fill(itself, -math.inf).logsumexp(1, keepdim=True)
    return -masked_mean(log_probs, same_class & ~itself).mean()


@CONTRASTIVE_LOSSES.register("balanced_contrastive")
class BalancedContrastiveLoss(ContrastiveLoss):
    """Supervised contrastive loss with class-complement and class-averaging (BCL).

    ``L = mean_i mean_{p in B_y, p != i} -log[ e^{v_i . v_p / T} / sum_k A_ik ]``,
    ``A_ik = mean_{a in B_k, a != i} e^{v_i . v_a / T}``, where i runs over the 2 B views of the
    batch, y is the class of i, k runs over all classes and ``B_k`` holds the views of class k and
    its centre.

    - Class-complement: the centre of every class joins the batch, so that every class is in every
      denominator and every view has a positive besides the image's other view.
    - Class-averaging: a class enters the denominator as a mean, however many of its views the
      batch holds.

    The authors train with it on two views and balanced softmax on a third, weighted 0.6 and 2.0,
    and make the centres from the classifier's weights by a small network; DBM replaces their
    balanced softmax. Neither is part of this loss.

    Differs from the authors' code: the same numbers; the logarithm of the class means is taken at
    once, so that no temperature overflows, and nothing depends on the device.

    Shape:
        As `ContrastiveLoss`; class centres and views of unit length.

    Args:
        class_counts: Training images of each class ``(c,)``; only their number is used.
        temperature: The temperature T > 0 of the inner products.

    Raises:
        ConfigError: A temperature that is not finite and positive.
        DataError: Counts, centres, views or targets of a wrong form.

    Reference:
        Zhu et al. 2022, Balanced Contrastive Learning for Long-Tailed Visual Recognition,
        section 3.3.

    Examples:
        >>> right, up = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
        >>> views = torch.stack([torch.stack([right, right])])
        >>> loss = BalancedContrastiveLoss([3, 2], temperature=1.0)
        >>> loss(torch.stack([right, up]), views, torch.tensor([0]))  # log((e + 1) / e)
        tensor(0.3133)
    """

    def __init__(self, class_counts: ClassCounts, temperature: float = 0.1) -> None:
        super().__init__(class_counts)
        self.temperature = check_temperature(temperature)

    def forward(self, class_centers: Tensor, views: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar."""
        class_centers, views = self.checked(class_centers, views, target)
        return balanced_contrastive_loss(class_centers, views, target, temperature=self.temperature)
