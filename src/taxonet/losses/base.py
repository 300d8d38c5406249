"""What every loss over classes declares and shares: all but the formula itself."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from taxonet.errors import DataError
from taxonet.losses.checks import ClassCounts, check_batch, check_class_counts
from taxonet.losses.options import options_repr


class Loss(nn.Module, ABC):
    """The base of the losses that compare the scores of a head with one target class an image.

    Each is the cross entropy of a softmax over `adjusted` scores: margins, priors and the scale
    are what tells one from another. A subclass takes ``class_counts`` first and its options after
    it, and keeps each option as an attribute of the same name.

    Called as ``loss(scores, target)``, it returns a scalar: the mean over the batch, weighted by
    the class weights where there are some (as torch's ``weight`` does), plus `penalty`.
    ``sample_weights`` ``(B,)`` multiply the loss of each image and are not divided out.

    Attributes:
        takes: What the scores must be, and so which kind of head the loss needs.
        norm_is_meaningful: Whether training with the loss lets the norm of an embedding tell how
            sure the network is, which norm-guided selection relies on.
        scale: The factor on the scores inside the softmax; prediction uses the same one.
        classes: The number of classes c.
        label_smoothing: Share of the target that is spread evenly over all classes, in [0, 1).
        class_weights: ``(c,)``, or None where all classes weigh the same; see `reweight`.

    Args:
        class_counts: Training images of each class, integers ``(c,)``, each at least 1, c >= 2.

    Raises:
        DataError: The counts are not of that form; the message names the classes by index.
    """

    takes: ClassVar[Literal["logits", "cosines"]]
    norm_is_meaningful: ClassVar[bool] = False
    scale: float
    label_smoothing: float = 0.0
    class_weights: Tensor | None

    def __init__(self, class_counts: ClassCounts) -> None:
        super().__init__()
        self.classes = len(check_class_counts(class_counts))
        # Whoever sets weights sets them again after a restart: they follow from counts and epoch.
        self.register_buffer("class_weights", None, persistent=False)

    @abstractmethod
    def adjusted(self, scores: Tensor, target: Tensor) -> Tensor:
        """Return the logits ``(B, c)`` of the softmax, in float32 at least."""

    def per_image(self, scores: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each image ``(B,)``, in nats, without class weights and penalty."""
        logits = self.adjusted(scores, target)
        return F.cross_entropy(
            logits, target, reduction="none", label_smoothing=self.label_smoothing
        )

    def penalty(self) -> Tensor | None:
        """Return what the loss adds whatever the images are, if anything."""
        return None

    def forward(
        self, scores: Tensor, target: Tensor, *, sample_weights: Tensor | None = None
    ) -> Tensor:
        """Return the loss of a batch, a scalar."""
        self.check_columns(scores)
        check_batch(scores, target)
        losses = self.per_image(scores, target)
        if sample_weights is not None:
            losses = losses * sample_weights
        loss = weighted_mean(losses, self.class_weights, target)
        penalty = self.penalty()
        return loss if penalty is None else loss + penalty

    def reweight(self, class_weights: Tensor | None) -> None:
        """Weigh the images of each class by ``class_weights`` ``(c,)`` from now on; None: evenly.

        Deferred re-weighting calls this at its epoch.

        Raises:
            DataError: The weights are not one finite number of at least 0 for each class.
        """
        if class_weights is not None:
            if class_weights.shape != (self.classes,):
                raise DataError(
                    f"{type(self).__name__} was made for {self.classes} classes, but got class "
                    f"weights of shape {tuple(class_weights.shape)}."
                )
            if not bool((class_weights.isfinite() & (class_weights >= 0)).all()):
                raise DataError("Class weights must be finite and at least 0.")
        self.class_weights = class_weights

    def check_columns(self, scores: Tensor) -> None:
        """Raise a DataError unless the scores have one column for each class of the loss."""
        if scores.ndim != 2 or scores.shape[1] != self.classes:
            raise DataError(
                f"{type(self).__name__} was made for {self.classes} classes and expects "
                f"{self.takes} of shape (B, {self.classes}), but got {tuple(scores.shape)}. "
                "Make the loss and the head from the same classes."
            )

    def extra_repr(self) -> str:
        """Return the options as they would be written in a call."""
        return options_repr(self)


def weighted_mean(losses: Tensor, class_weights: Tensor | None, target: Tensor) -> Tensor:
    """Return the mean of the losses ``(B,)``, each weighted by its class: ``sum w l / sum w``.

    Examples:
        >>> import torch
        >>> losses, target = torch.tensor([1.0, 4.0]), torch.tensor([0, 1])
        >>> weighted_mean(losses, torch.tensor([2.0, 1.0]), target)
        tensor(2.)
    """
    if class_weights is None:
        return losses.mean()
    weights = class_weights.to(losses)[target]
    return (weights * losses).sum() / weights.sum()
