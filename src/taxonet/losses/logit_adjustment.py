"""Logits shifted by how common each class is: logit adjustment and balanced softmax."""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from taxonet.errors import DataError
from taxonet.losses.base import Loss
from taxonet.losses.checks import (
    ClassCounts,
    at_least_float32,
    check_class_counts,
    check_number,
    check_share,
)
from taxonet.registry import LOSSES


def log_priors(class_counts: ClassCounts) -> Tensor:
    """Return the logarithm of each class's share of the training images, ``log(N_k / N)``.

    Returns:
        float64 ``(c,)``, each below 0, in nats.

    Raises:
        DataError: Counts of a wrong form.

    Examples:
        >>> log_priors([3, 1])
        tensor([-0.2877, -1.3863], dtype=torch.float64)
    """
    counts = check_class_counts(class_counts)
    # log1p of an exact integer difference: a share of nearly 1 keeps its digits.
    return -torch.log1p((counts.sum() - counts).double() / counts.double())


def adjust_logits(logits: Tensor, class_counts: ClassCounts, tau: float = 1.0) -> Tensor:
    """Return ``l_k - tau log pi_k``, whose argmax is the post-hoc answer of logit adjustment.

    For the logits of a network that was trained with plain cross entropy; one that was trained
    with `LogitAdjustedLoss` or `BalancedSoftmaxLoss` needs no adjustment to predict.

    Args:
        logits: ``(..., c)``, any real numbers.
        class_counts: Training images of each class, integers ``(c,)``, each at least 1, c >= 2.
        tau: How much the shares of the classes count, at least 0.

    Returns:
        ``(..., c)``, float32 for half-precision logits.

    Raises:
        ConfigError: A tau outside its range.
        DataError: Counts of a wrong form, or of another number of classes.

    Reference:
        Menon et al. 2021, Long-Tail Learning via Logit Adjustment, eq. 9.

    Examples:
        >>> adjust_logits(torch.tensor([[1.0, 0.0]]), [3, 1])  # 1 - log 3/4, 0 - log 1/4
        tensor([[1.2877, 1.3863]])
    """
    priors = log_priors(class_counts)
    if logits.shape[-1:] != priors.shape:
        raise DataError(
            f"class_counts name {len(priors)} classes, but the logits have the shape "
            f"{tuple(logits.shape)}. Give the counts of the classes of the logits, in their order."
        )
    logits = at_least_float32(logits)
    return logits - check_number("tau", tau, at_least=0) * priors.to(logits)


@LOSSES.register("logit_adjustment")
class LogitAdjustedLoss(Loss):
    """Cross entropy of logits to which the log share of each class was added.

    ``L = -log softmax(l + tau log pi)_y`` with ``pi_k = N_k / N``, the mean over the batch. The
    shares explain how common a class is, so that the logits need not; prediction takes the plain
    logits. With tau = 0 it is cross entropy, with tau = 1 balanced softmax.

    Shape:
        ``logits`` ``(B, c)``, any real numbers; ``target`` int64 ``(B,)`` in 0..c-1; a scalar
        comes back, in nats, float32 for half-precision logits.

    Args:
        class_counts: Training images of each class, integers ``(c,)``, each at least 1, c >= 2.
        tau: How much the shares of the classes count, at least 0.
        label_smoothing: Share of the target that is spread evenly over all classes, in [0, 1).

    Raises:
        ConfigError: An option outside its range.
        DataError: Counts, logits or targets of a wrong form.

    Reference:
        Menon et al. 2021, Long-Tail Learning via Logit Adjustment, eq. 10.

    Examples:
        >>> loss = LogitAdjustedLoss([3, 1], tau=2.0)
        >>> loss(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))  # log(1 + 3^2)
        tensor(2.3026)
    """

    takes: ClassVar[Literal["logits", "cosines"]] = "logits"
    scale = 1.0
    log_priors: Tensor

    def __init__(
        self, class_counts: ClassCounts, tau: float = 1.0, *, label_smoothing: float = 0.0
    ) -> None:
        super().__init__(class_counts)
        self.tau = check_number("tau", tau, at_least=0)
        self.label_smoothing = check_share("label_smoothing", label_smoothing)
        self.register_buffer("log_priors", log_priors(class_counts).float())

    def adjusted(self, scores: Tensor, target: Tensor) -> Tensor:
        """Return the logits plus tau times the log shares."""
        logits = at_least_float32(scores)
        return logits + self.tau * self.log_priors.to(logits)


@LOSSES.register("balanced_softmax")
class BalancedSoftmaxLoss(LogitAdjustedLoss):
    """Cross entropy of a softmax in which each class is weighed by its training images.

    ``L = -log[ N_y e^{l_y} / sum_k N_k e^{l_k} ]``, the mean over the batch: `LogitAdjustedLoss`
    with tau = 1. Prediction takes the plain logits.

    Shape:
        ``logits`` ``(B, c)``, any real numbers; ``target`` int64 ``(B,)`` in 0..c-1; a scalar
        comes back, in nats, float32 for half-precision logits.

    Args:
        class_counts: Training images of each class, integers ``(c,)``, each at least 1, c >= 2.
        label_smoothing: Share of the target that is spread evenly over all classes, in [0, 1).

    Raises:
        ConfigError: A share outside its range.
        DataError: Counts, logits or targets of a wrong form.

    Reference:
        Ren et al. 2020, Balanced Meta-Softmax for Long-Tailed Visual Recognition,
        theorem 1.

    Examples:
        >>> loss = BalancedSoftmaxLoss([3, 1])
        >>> loss(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))  # log 4
        tensor(1.3863)
    """

    def __init__(self, class_counts: ClassCounts, *, label_smoothing: float = 0.0) -> None:
        super().__init__(class_counts, tau=1.0, label_smoothing=label_smoothing)
