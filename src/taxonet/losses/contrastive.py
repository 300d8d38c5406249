"""Losses that compare embeddings with one another: what they share, and the flat one, SupCon."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from taxonet.errors import ConfigError, DataError
from taxonet.losses.checks import ClassCounts, at_least_float32, check_batch, check_class_counts
from taxonet.losses.options import options_repr
from taxonet.registry import CONTRASTIVE_LOSSES

#: How far beyond 1 the length of an embedding may be: bfloat16 keeps it to half a percent.
LENGTH_TOLERANCE = 0.01


class ContrastiveLoss(nn.Module, ABC):
    """The base of the losses on two views of each image, and on one centre of each class.

    Called as ``loss(class_centers, views, target)``, it returns a scalar, the mean over the
    embeddings that are compared. It stands beside a classification loss, whose weight and its own
    the training recipe holds. A subclass takes ``class_counts`` first and its options after it,
    and keeps each option as an attribute of the same name.

    Gradients reach whatever carries them, the class centres too; detach what shall stay.

    Attributes:
        needs_centers: Whether views are compared with class centres; where they are not, None may
            stand for the centres, and a head without one vector a class will do.
        needs_unit_length: Whether class centres and views must be normalised.
        classes: The number of classes c.

    Shape:
        ``class_centers`` ``(c, D)``; ``views`` ``(B, 2, D)``, B >= 1; ``target`` int64 ``(B,)`` in
        0..c-1; a scalar comes back, in nats, float32 for half-precision embeddings.

    Args:
        class_counts: Training images of each class, integers ``(c,)``, each at least 1, c >= 2.

    Raises:
        DataError: Counts, centres, views or targets of a wrong form.
    """

    needs_centers: ClassVar[bool] = True
    needs_unit_length: ClassVar[bool] = True

    def __init__(self, class_counts: ClassCounts) -> None:
        super().__init__()
        self.classes = len(check_class_counts(class_counts))

    @abstractmethod
    def forward(self, class_centers: Tensor, views: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar."""

    def checked(
        self, class_centers: Tensor, views: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return class centres and views in one precision, float32 at least.

        Raises:
            DataError: They, or the targets, are not of the form that the loss takes.
        """
        views = self.checked_views(views, target)
        expected = (self.classes, views.shape[2])
        if class_centers.shape != expected or not _is_float(class_centers):
            raise DataError(
                f"{type(self).__name__} was made for {self.classes} classes and expects "
                f"floating-point class centres of shape {expected}, one for each class and as long "
                f"as the views, but got {class_centers.dtype} of shape "
                f"{tuple(class_centers.shape)}."
            )
        class_centers, views = in_one_precision(class_centers, views)
        if self.needs_unit_length:
            check_unit_length("class_centers", class_centers)
        return class_centers, views

    def checked_views(self, views: Tensor, target: Tensor) -> Tensor:
        """Return the views in float32 at least.

        Raises:
            DataError: They, or the targets, are not of the form that the loss takes.
        """
        if views.ndim != 3 or views.shape[1] != 2 or not len(views) or not _is_float(views):
            raise DataError(
                "Views must be floating-point embeddings of shape (B, 2, D), two views of each of "
                f"at least 1 image, but got {views.dtype} of shape {tuple(views.shape)}."
            )
        # Only the number of columns counts: the targets are checked as those of any scores are.
        check_batch(views.new_zeros(1).expand(len(views), self.classes), target)
        views = at_least_float32(views)
        if self.needs_unit_length:
            check_unit_length("views", views)
        return views

    def extra_repr(self) -> str:
        """Return the options as they would be written in a call."""
        return options_repr(self)


def supcon_loss(views: Tensor, target: Tensor, *, temperature: float) -> Tensor:
    """Return the mean supervised contrastive loss of a batch of views; see `SupConLoss`."""
    embeddings, labels = all_views(views, target)
    logits = inner_products(embeddings, embeddings) / temperature
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    log_probs = logits - logits.masked_fill(itself, -math.inf).logsumexp(1, keepdim=True)
    positives = (labels[:, None] == labels) & ~itself
    return -masked_mean(log_probs, positives).mean()


@CONTRASTIVE_LOSSES.register("supcon")
class SupConLoss(ContrastiveLoss):
    """Supervised contrastive loss: every view against all other views of the batch.

    ``L = mean_i mean_{p in P(i)} -log[ e^{v_i . v_p / T} / sum_{a != i} e^{v_i . v_a / T} ]``,
    where i, p and a run over the 2 B views of the batch and P(i) are the other views of the same
    class; the second view of the image is always one of them.

    Class centres are checked where there are any, and not used. Common classes have more positives
    and more terms in every denominator, which `BalancedContrastiveLoss` mends.

    Differs from the authors' code: no factor of temperature over base temperature (theirs is 1 by
    default), no 1e-9 inside the logarithm, and the mean, not the sum, over the views, as theirs
    has it and the paper's equation has not.

    Shape:
        As `ContrastiveLoss`; class centres, or None, and views of unit length.

    Args:
        class_counts: Training images of each class ``(c,)``; only their number is used.
        temperature: The temperature T > 0 of the inner products.

    Raises:
        ConfigError: A temperature that is not finite and positive.
        DataError: Counts, centres, views or targets of a wrong form.

    Reference:
        Khosla et al. 2020, Supervised Contrastive Learning, eq. 2 (L_out).

    Examples:
        >>> import torch
        >>> right, up = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
        >>> views = torch.stack([torch.stack([right, right]), torch.stack([up, up])])
        >>> loss = SupConLoss([3, 2], temperature=1.0)
        >>> loss(torch.stack([right, up]), views, torch.tensor([0, 1]))  # log((e + 2) / e)
        tensor(0.5514)
    """

    needs_centers: ClassVar[bool] = False

    def __init__(self, class_counts: ClassCounts, temperature: float = 0.1) -> None:
        super().__init__(class_counts)
        self.temperature = check_temperature(temperature)

    def forward(self, class_centers: Tensor | None, views: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar."""
        if class_centers is None:
            views = self.checked_views(views, target)
        else:
            _, views = self.checked(class_centers, views, target)
        return supcon_loss(views, target, temperature=self.temperature)


def all_views(views: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the views ``(2 B, D)``, all first ones before all second ones, and their classes.

    Examples:
        >>> import torch
        >>> views = torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]])
        >>> all_views(views, torch.tensor([7, 8]))[0].flatten()
        tensor([1., 3., 2., 4.])
    """
    return torch.cat(views.unbind(1)), target.repeat(2)


def inner_products(rows: Tensor, columns: Tensor) -> Tensor:
    """Return the inner product of each row with each column vector, ``(R, D), (C, D) -> (R, C)``.

    In the precision of the vectors even under autocast, which would multiply in half precision: an
    error of 0.004 in a cosine is one of 0.04 in a logit at a temperature of 0.1.
    """
    with torch.autocast(rows.device.type, enabled=False):
        return rows @ columns.T


def in_one_precision(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return both tensors in the wider of their precisions, float32 at least."""
    wider = torch.promote_types(first.dtype, second.dtype)
    dtype = torch.promote_types(wider, torch.float32)
    return first.to(dtype), second.to(dtype)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of each row's chosen values, ``(R, C) -> (R,)``; no row may choose none.

    What is not chosen may be infinite.

    Examples:
        >>> import torch
        >>> masked_mean(torch.tensor([[1.0, torch.inf, 3.0]]), torch.tensor([[True, False, True]]))
        tensor([2.])
    """
    return values.masked_fill(~mask, 0.0).sum(1) / mask.sum(1)


def check_temperature(temperature: float) -> float:
    """Return the temperature as a finite float above 0, or raise a ConfigError."""
    if not (math.isfinite(temperature) and temperature > 0):
        raise ConfigError(f"temperature must be a finite number above 0, but is {temperature}.")
    return float(temperature)


def check_unit_length(name: str, vectors: Tensor) -> None:
    """Raise a DataError if a vector is longer than 1, which normalised ones are not.

    Shorter ones pass: the embedding of a dead image is 0, and no reason to end a training run.
    """
    longest = vectors.detach().norm(dim=-1).amax().item()
    if longest > 1 + LENGTH_TOLERANCE:
        raise DataError(
            f"{name} must be of unit length, but the longest is {longest:.4g} long. Normalise "
            "them along the last dimension first."
        )


def _is_float(values: Tensor) -> bool:
    return values.is_floating_point()
