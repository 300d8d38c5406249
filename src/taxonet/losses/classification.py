"""The loss without margins: cross entropy of logits."""

from typing import ClassVar, Literal

from torch import Tensor
from torch.nn import functional as F

from taxonet.losses.base import ClassCounts, Loss, at_least_float32, check_batch
from taxonet.registry import LOSSES


def cross_entropy_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the mean cross entropy of a batch; see `CrossEntropyLoss`."""
    check_batch(logits, target)
    return F.cross_entropy(at_least_float32(logits), target)


@LOSSES.register("cross_entropy")
class CrossEntropyLoss(Loss):
    """Cross entropy of the softmax over the logits of a linear head.

    ``L = -log softmax(l)_y``, the mean over the batch.

    Shape:
        ``logits`` ``(B, c)``, any real numbers; ``target`` int64 ``(B,)`` in 0..c-1; a scalar
        comes back, in nats, float32 for half-precision logits.

    Args:
        class_counts: Training images of each class ``(c,)``; only their number is used.

    Raises:
        DataError: Counts, logits or targets of a wrong form.

    Examples:
        >>> import torch
        >>> loss = CrossEntropyLoss([90, 10])
        >>> loss(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
        tensor(0.6931)
    """

    takes: ClassVar[Literal["logits", "cosines"]] = "logits"
    norm_is_meaningful: ClassVar[bool] = False
    scale = 1.0

    def __init__(self, class_counts: ClassCounts) -> None:
        super().__init__(class_counts)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss of a batch of logits."""
        self.check_columns(logits)
        return cross_entropy_loss(logits, target)
