"""The target's angle times a whole number: SphereFace."""

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor

from taxonet.errors import ConfigError
from taxonet.losses.base import Loss
from taxonet.losses.checks import ClassCounts, at_least_float32, check_scale
from taxonet.losses.target import target_scores, with_target_scores
from taxonet.registry import LOSSES


def cos_of_multiple(cosines: Tensor, multiple: int) -> Tensor:
    """Return the continued cosine of a multiple of each angle, which falls from 1 to 1 - 2m.

    ``(-1)^q cos(m t) - 2q`` for t in [q pi / m, (q + 1) pi / m], of any shape; ``cos(m t)`` is the
    Chebyshev polynomial of ``cos t``, whose slope is finite (m^2) at cosines of 1 and -1.

    Examples:
        >>> cos_of_multiple(torch.tensor([1.0, 0.5, 0.0, -0.5, -1.0]), 2)
        tensor([ 1.0000, -0.5000, -1.0000, -1.5000, -3.0000])
    """
    before, polynomial = torch.ones_like(cosines), cosines
    half_turns = torch.zeros_like(cosines)
    for k in range(1, multiple):
        before, polynomial = polynomial, 2 * cosines * polynomial - before
        half_turns = half_turns + (cosines < math.cos(k * math.pi / multiple))
    return (1 - 2 * (half_turns % 2)) * polynomial - 2 * half_turns


def sphereface_logits(cosines: Tensor, target: Tensor, *, multiple: int, scale: float) -> Tensor:
    """Return the scaled cosines ``(B, c)``, the target's angle multiplied; see `SphereFaceLoss`.

    Examples:
        >>> sphereface_logits(
        ...     torch.tensor([[0.5, 0.25]]), torch.tensor([0]), multiple=2, scale=4.0
        ... )
        tensor([[-2.,  1.]])
    """
    cosines = at_least_float32(cosines)
    margined = cos_of_multiple(target_scores(cosines, target), multiple)
    return scale * with_target_scores(cosines, target, margined)


@LOSSES.register("sphereface")
class SphereFaceLoss(Loss):
    """Cross entropy of scaled cosines in which the angle of the target is multiplied.

    ``L = -log[ e^{s psi} / (e^{s psi} + sum_{k != y} e^{s z_k}) ]``, the mean over the batch, with
    ``psi = (-1)^q cos(m t) - 2q`` for t in [q pi / m, (q + 1) pi / m] and ``cos t = z_y``. With
    m = 1 it is the cosine softmax. psi reaches down to 1 - 2m, so training is stabler with m = 2
    than with m = 4.

    Shape:
        ``cosines`` ``(B, c)`` in [-1, 1] (a little beyond does no harm); ``target`` int64 ``(B,)``
        in 0..c-1; a scalar comes back, in nats, float32 for half-precision cosines.

    Args:
        class_counts: Training images of each class ``(c,)``; only their number is used.
        multiple: The factor m on the angle, a whole number of at least 1.
        scale: The scale s > 0 of the cosines inside the softmax. The paper has the norm of each
            embedding in its place.

    Raises:
        ConfigError: An option outside its range.
        DataError: Counts, cosines or targets of a wrong form.

    Reference:
        Liu et al. 2017, SphereFace: Deep Hypersphere Embedding for Face Recognition,
        section 3.2.

    Examples:
        >>> loss = SphereFaceLoss([90, 10], multiple=2, scale=2.0)
        >>> loss(torch.tensor([[0.5, -0.5]]), torch.tensor([0]))
        tensor(0.6931)
    """

    takes: ClassVar[Literal["logits", "cosines"]] = "cosines"
    norm_is_meaningful: ClassVar[bool] = True

    def __init__(
        self, class_counts: ClassCounts, *, multiple: int = 4, scale: float = 32.0
    ) -> None:
        super().__init__(class_counts)
        if not isinstance(multiple, int) or multiple < 1:
            raise ConfigError(f"multiple must be a whole number of at least 1, but is {multiple}.")
        self.multiple = multiple
        self.scale = check_scale(scale)

    def adjusted(self, scores: Tensor, target: Tensor) -> Tensor:
        """Return the scaled cosines, the target's of the multiplied angle."""
        return sphereface_logits(scores, target, multiple=self.multiple, scale=self.scale)
