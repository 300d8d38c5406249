"""The loss without margins: cross entropy of logits."""

from typing import ClassVar, Literal

from torch import Tensor
from torch.nn import functional as F

from taxonet.losses.base import Loss
from taxonet.losses.checks import ClassCounts, at_least_float32, check_batch, check_share
from taxonet.registry import LOSSES


def cross_entropy_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the mean cross entropy of a batch; see `CrossEntropyLoss`."""
    check_batch(logits, target)
    return F.cross_entropy(at_least_float32(logits), target, reduction="none").mean()


@LOSSES.register("cross_entropy")
class CrossEntropyLoss(Loss):
    """Cross entropy of the softmax over the logits of a linear head.

    ``L = -log softmax(l)_y``, the mean over the batch.

    Shape:
        ``logits`` ``(B, c)``, any real numbers; ``target`` int64 ``(B,)`` in 0..c-1; a scalar
        comes back, in nats, float32 for half-precision logits.

    Args:
        class_counts: Training images of each class ``(c,)``; only their number is used.
        label_smoothing: Share of the target that is spread evenly over all classes, in [0, 1).

    Raises:
        ConfigError: A share outside its range.
        DataError: Counts, logits or targets of a wrong form.

    Examples:
        >>> import torch
        >>> loss = CrossEntropyLoss([90, 10])
        >>> loss(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
        tensor(0.6931)
    """

    takes: ClassVar[Literal["logits", "cosines"]] = "logits"
    scale = 1.0

    def __init__(self, class_counts: ClassCounts, *, label_smoothing: float = 0.0) -> None:
        super().__init__(class_counts)
        self.label_smoothing = check_share("label_smoothing", label_smoothing)

    def adjusted(self, scores: Tensor, target: Tensor) -> Tensor:
        """Return the logits themselves."""
        return at_least_float32(scores)
