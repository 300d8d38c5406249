"""What every loss over the scores of several experts declares and shares."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from taxonet.errors import DataError
from taxonet.losses.checks import ClassCounts, at_least_float32, check_batch, check_class_counts
from taxonet.losses.options import options_repr


class ExpertLoss(nn.Module, ABC):
    """The base of the losses on several experts: heads that share a part of the network.

    Called as ``loss(scores_of_experts, target)`` with the scores of every expert for the same
    images, it returns a scalar: a sum over experts of means over the batch. A subclass takes
    ``class_counts`` first and its options after it, and keeps each option as an attribute of the
    same name.

    Attributes:
        takes: What the scores of every expert must be, and so which kind of head they need.
        scale: The factor on the scores inside the softmax; prediction uses the same one, on the
            mean of the experts' scores.
        classes: The number of classes c.

    Shape:
        ``scores_of_experts``: a list of at least 2 tensors ``(B, c)``, B >= 1, in half or higher
        precision; ``target`` int64 ``(B,)`` in 0..c-1; a scalar comes back, in nats, float32 for
        half-precision scores.

    Args:
        class_counts: Training images of each class, integers ``(c,)``, each at least 1, c >= 2.

    Raises:
        DataError: Counts, scores or targets of a wrong form.
    """

    takes: Literal["logits", "cosines"]
    scale: float

    @property
    def experts(self) -> int | None:
        """The number of experts that the loss is for; None for any from 2."""
        return None

    def __init__(self, class_counts: ClassCounts) -> None:
        super().__init__()
        self.classes = len(check_class_counts(class_counts))

    @abstractmethod
    def joint(self, scores_of_experts: Sequence[Tensor], target: Tensor) -> Tensor:
        """Return the loss of a checked batch, a scalar; the scores are float32 at least."""

    def forward(self, scores_of_experts: Sequence[Tensor], target: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar."""
        self.check_experts(scores_of_experts)
        for scores in scores_of_experts:
            if scores.ndim != 2 or scores.shape[1] != self.classes:
                raise DataError(
                    f"{type(self).__name__} was made for {self.classes} classes and expects "
                    f"{self.takes} of shape (B, {self.classes}) from every expert, but got "
                    f"{tuple(scores.shape)}. Make the loss and the heads from the same classes."
                )
            check_batch(scores, target)
        return self.joint([at_least_float32(scores) for scores in scores_of_experts], target)

    def check_experts(self, scores_of_experts: Sequence[Tensor] | Tensor) -> None:
        """Raise a DataError unless there are as many experts as the loss is for."""
        if isinstance(scores_of_experts, Tensor) or len(scores_of_experts) < 2:
            raise DataError(
                f"{type(self).__name__} expects a list with the {self.takes} of at least 2 "
                "experts. A single head takes one of the plain losses."
            )

    def extra_repr(self) -> str:
        """Return the options as they would be written in a call."""
        return options_repr(self)
