"""A margin on the target's cosine that is wider for rarer classes: LDAM."""

from typing import ClassVar, Literal

from torch import Tensor

from taxonet.losses.base import Loss
from taxonet.losses.checks import (
    ClassCounts,
    at_least_float32,
    check_class_counts,
    check_number,
    check_scale,
)
from taxonet.losses.target import target_scores, with_target_scores
from taxonet.registry import LOSSES


def ldam_margins(class_counts: ClassCounts, max_margin_cos: float) -> Tensor:
    """Return the margin of each class, ``C / N_k^(1/4)``, the largest being ``max_margin_cos``.

    Args:
        class_counts: Training images of each class, integers ``(c,)``, each at least 1, c >= 2.
        max_margin_cos: The margin of the rarest class, at least 0, in units of cosine.

    Returns:
        float64 ``(c,)``, each in [0, ``max_margin_cos``], in units of cosine.

    Raises:
        ConfigError: A margin outside its range.
        DataError: Counts of a wrong form.

    Examples:
        >>> ldam_margins([16, 1, 81], 0.6)
        tensor([0.3000, 0.6000, 0.2000], dtype=torch.float64)
    """
    widest = check_number("max_margin_cos", max_margin_cos, at_least=0)
    counts = check_class_counts(class_counts).double()
    return widest * (counts.min() / counts) ** 0.25


def ldam_logits(
    cosines: Tensor, target: Tensor, *, class_margins_cos: Tensor, scale: float
) -> Tensor:
    """Return the scaled cosines ``(B, c)``, the target's less its class's margin; see `LDAMLoss`.

    Examples:
        >>> import torch
        >>> ldam_logits(
        ...     torch.tensor([[0.5, 0.0], [0.5, 0.0]]),
        ...     torch.tensor([0, 1]),
        ...     class_margins_cos=torch.tensor([0.25, 0.5]),
        ...     scale=2.0,
        ... )
        tensor([[ 0.5000,  0.0000],
                [ 1.0000, -1.0000]])
    """
    cosines = at_least_float32(cosines)
    margined = target_scores(cosines, target) - class_margins_cos.to(cosines)[target]
    return scale * with_target_scores(cosines, target, margined)


@LOSSES.register("ldam")
class LDAMLoss(Loss):
    """Cross entropy of scaled cosines with a label-distribution-aware margin on the target.

    ``L = -log[ e^{s(z_y - m_y)} / (e^{s(z_y - m_y)} + sum_{k != y} e^{s z_k}) ]`` with
    ``m_k = C / N_k^(1/4)``, the mean over the batch. C is such that the largest margin, the one of
    the rarest class, is ``max_margin_cos``; with 0 it is the cosine softmax, with equal counts
    AM-Softmax. Re-weighted late in training (`reweight`), it is LDAM-DRW.

    Shape:
        ``cosines`` ``(B, c)`` in [-1, 1] (a little beyond does no harm); ``target`` int64 ``(B,)``
        in 0..c-1; a scalar comes back, in nats, float32 for half-precision cosines.

    Args:
        class_counts: Training images of each class, integers ``(c,)``, each at least 1, c >= 2.
        max_margin_cos: The margin of the rarest class, at least 0, in units of cosine.
        scale: The scale s > 0 of the cosines inside the softmax.

    Raises:
        ConfigError: An option outside its range.
        DataError: Counts, cosines or targets of a wrong form.

    Reference:
        Cao et al. 2019, Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss,
        section 3.

    Examples:
        >>> import torch
        >>> loss = LDAMLoss([16, 1], max_margin_cos=0.5, scale=2.0)
        >>> loss(torch.tensor([[0.5, 0.25]]), torch.tensor([0]))
        tensor(0.6931)
    """

    takes: ClassVar[Literal["logits", "cosines"]] = "cosines"
    class_margins_cos: Tensor

    def __init__(
        self, class_counts: ClassCounts, *, max_margin_cos: float = 0.5, scale: float = 30.0
    ) -> None:
        super().__init__(class_counts)
        self.max_margin_cos = check_number("max_margin_cos", max_margin_cos, at_least=0)
        self.scale = check_scale(scale)
        margins = ldam_margins(class_counts, max_margin_cos)
        self.register_buffer("class_margins_cos", margins.float())

    def adjusted(self, scores: Tensor, target: Tensor) -> Tensor:
        """Return the scaled cosines, the target's less the margin of its class."""
        return ldam_logits(
            scores, target, class_margins_cos=self.class_margins_cos, scale=self.scale
        )
