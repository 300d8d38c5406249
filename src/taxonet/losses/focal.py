"""Cross entropy that turns away from images it already gets right: the focal loss."""

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from taxonet.losses.base import Loss
from taxonet.losses.checks import ClassCounts, at_least_float32, check_batch, check_number
from taxonet.losses.target import target_scores, with_target_scores
from taxonet.registry import LOSSES


def focal_loss(logits: Tensor, target: Tensor, *, focus: float) -> Tensor:
    """Return the mean focal loss of a batch; see `FocalLoss`."""
    check_batch(logits, target)
    check_number("focus", focus, at_least=0)
    return _focal_per_image(at_least_float32(logits), target, focus=focus).mean()


def _focal_per_image(logits: Tensor, target: Tensor, *, focus: float) -> Tensor:
    nothing = torch.full_like(target, -torch.inf, dtype=logits.dtype)
    others = with_target_scores(logits, target, nothing).logsumexp(1)
    # p and 1 - p are the sigmoids of the log odds and of their negative, so neither is a difference
    # of near numbers, and no power of 0 is taken: below 1 it has an infinite slope.
    log_odds = target_scores(logits, target) - others
    return -(focus * F.logsigmoid(-log_odds)).exp() * F.logsigmoid(log_odds)


@LOSSES.register("focal")
class FocalLoss(Loss):
    """Cross entropy times a power of the probability that the image is taken for something else.

    ``L = -(1 - p_y)^g log p_y`` with ``p = softmax(l)``, the mean over the batch. An image with
    p_y near 1 hardly counts, whatever its class; with g = 0 it is cross entropy.

    Shape:
        ``logits`` ``(B, c)``, any real numbers; ``target`` int64 ``(B,)`` in 0..c-1; a scalar
        comes back, in nats, float32 for half-precision logits.

    Args:
        class_counts: Training images of each class ``(c,)``; only their number is used.
        focus: The power g >= 0.

    Raises:
        ConfigError: A power outside its range.
        DataError: Counts, logits or targets of a wrong form.

    Reference:
        Lin et al. 2017, Focal Loss for Dense Object Detection, eq. 4, with the softmax in place
        of the sigmoid.

    Examples:
        >>> import torch
        >>> loss = FocalLoss([90, 10], focus=2.0)
        >>> loss(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))  # log(2) / 4
        tensor(0.1733)
    """

    takes: ClassVar[Literal["logits", "cosines"]] = "logits"
    scale = 1.0

    def __init__(self, class_counts: ClassCounts, *, focus: float = 2.0) -> None:
        super().__init__(class_counts)
        self.focus = check_number("focus", focus, at_least=0)

    def adjusted(self, scores: Tensor, target: Tensor) -> Tensor:
        """Return the logits themselves."""
        return at_least_float32(scores)

    def per_image(self, scores: Tensor, target: Tensor) -> Tensor:
        """Return the focal loss of each image ``(B,)``, in nats."""
        return _focal_per_image(self.adjusted(scores, target), target, focus=self.focus)
