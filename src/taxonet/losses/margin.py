"""One fixed margin on the target's cosine: AM-Softmax."""

from typing import ClassVar, Literal

from torch import Tensor

from taxonet.losses.base import Loss
from taxonet.losses.checks import (
    ClassCounts,
    at_least_float32,
    check_batch,
    check_number,
    check_scale,
)
from taxonet.losses.classification import cross_entropy_loss
from taxonet.losses.target import target_scores, with_target_scores
from taxonet.registry import LOSSES


def am_softmax_logits(
    cosines: Tensor, target: Tensor, *, margin_cos: float, scale: float
) -> Tensor:
    """Return the scaled cosines ``(B, c)``, the target's less the margin; see `AMSoftmaxLoss`.

    Examples:
        >>> import torch
        >>> am_softmax_logits(
        ...     torch.tensor([[0.5, 0.0]]), torch.tensor([0]), margin_cos=0.25, scale=2.0
        ... )
        tensor([[0.5000, 0.0000]])
    """
    cosines = at_least_float32(cosines)
    margined = target_scores(cosines, target) - margin_cos
    return scale * with_target_scores(cosines, target, margined)


def am_softmax_loss(cosines: Tensor, target: Tensor, *, margin_cos: float, scale: float) -> Tensor:
    """Return the mean AM-Softmax loss of a batch; see `AMSoftmaxLoss`."""
    check_batch(cosines, target)
    check_number("margin_cos", margin_cos)
    check_scale(scale)
    logits = am_softmax_logits(cosines, target, margin_cos=margin_cos, scale=scale)
    return cross_entropy_loss(logits, target)


@LOSSES.register("am_softmax")
class AMSoftmaxLoss(Loss):
    """Cross entropy of scaled cosines with a margin taken off the target's cosine.

    ``L = -log[ e^{s(z_y - m)} / (e^{s(z_y - m)} + sum_{k != y} e^{s z_k}) ]``, the mean over the
    batch. With m = 0 it is the cosine softmax (normalised softmax).
    It is also known as CosFace.

    Shape:
        ``cosines`` ``(B, c)`` in [-1, 1] (a little beyond does no harm); ``target`` int64 ``(B,)``
        in 0..c-1; a scalar comes back, in nats, float32 for half-precision cosines.

    Args:
        class_counts: Training images of each class ``(c,)``; only their number is used.
        margin_cos: The margin m, in units of cosine.
        scale: The scale s > 0 of the cosines inside the softmax.

    Raises:
        ConfigError: A margin that is not finite, a scale that is not finite and positive.
        DataError: Counts, cosines or targets of a wrong form.

    Reference:
        Wang et al. 2018, Additive Margin Softmax for Face Verification; TaxoNet, eq. 1.

    Examples:
        >>> import torch
        >>> loss = AMSoftmaxLoss([90, 10], margin_cos=0.5, scale=2.0)
        >>> loss(torch.tensor([[0.5, 0.0]]), torch.tensor([0]))
        tensor(0.6931)
    """

    takes: ClassVar[Literal["logits", "cosines"]] = "cosines"
    norm_is_meaningful: ClassVar[bool] = True

    def __init__(
        self, class_counts: ClassCounts, *, margin_cos: float = 0.35, scale: float = 32.0
    ) -> None:
        super().__init__(class_counts)
        self.margin_cos = check_number("margin_cos", margin_cos)
        self.scale = check_scale(scale)

    def adjusted(self, scores: Tensor, target: Tensor) -> Tensor:
        """Return the scaled cosines, the target's less the margin."""
        return am_softmax_logits(scores, target, margin_cos=self.margin_cos, scale=self.scale)
