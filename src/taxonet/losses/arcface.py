"""One fixed margin on the target's angle: ArcFace."""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from taxonet.losses.angular import check_angle, cos_with_margin
from taxonet.losses.base import Loss
from taxonet.losses.checks import ClassCounts, at_least_float32, check_scale
from taxonet.losses.target import target_scores, with_target_scores
from taxonet.registry import LOSSES


def arcface_logits(
    cosines: Tensor, target: Tensor, *, margin_rad: float, scale: float, monotone: bool = False
) -> Tensor:
    """Return the scaled cosines ``(B, c)``, the target's angle widened; see `ArcFaceLoss`.

    Examples:
        >>> arcface_logits(
        ...     torch.tensor([[0.0, 0.25]]), torch.tensor([0]), margin_rad=torch.pi / 6, scale=4.0
        ... )
        tensor([[-2.,  1.]])
    """
    cosines = at_least_float32(cosines)
    of_target = target_scores(cosines, target)
    margins = torch.full_like(of_target, margin_rad)
    margined = cos_with_margin(of_target, margins, monotone=monotone)
    return scale * with_target_scores(cosines, target, margined)


@LOSSES.register("arcface")
class ArcFaceLoss(Loss):
    """Cross entropy of scaled cosines with a margin added to the angle of the target.

    ``L = -log[ e^{s cos(t + m)} / (e^{s cos(t + m)} + sum_{k != y} e^{s z_k}) ]`` with
    ``cos t = z_y``, the mean over the batch. With m = 0 it is the cosine softmax.

    By the literal formula, images whose angle is beyond pi - m (151 degrees at m = 0.5) are pushed
    further away, since cos(t + m) rises again there; ``monotone`` puts ``-2 - cos(t + m)`` in its
    place.

    Shape:
        ``cosines`` ``(B, c)`` in [-1, 1] (a little beyond does no harm); ``target`` int64 ``(B,)``
        in 0..c-1; a scalar comes back, in nats, float32 for half-precision cosines.

    Args:
        class_counts: Training images of each class ``(c,)``; only their number is used.
        margin_rad: The margin m in [0, pi], in radians.
        scale: The scale s > 0 of the cosines inside the softmax.
        monotone: Whether a smaller cosine of the target always costs more; False is the paper's.

    Raises:
        ConfigError: An option outside its range.
        DataError: Counts, cosines or targets of a wrong form.

    Reference:
        Deng et al. 2019, ArcFace: Additive Angular Margin Loss for Deep Face Recognition, eq. 3.

    Examples:
        >>> loss = ArcFaceLoss([90, 10], margin_rad=torch.pi / 6, scale=2.0)
        >>> loss(torch.tensor([[0.0, -0.5]]), torch.tensor([0]))
        tensor(0.6931)
    """

    takes: ClassVar[Literal["logits", "cosines"]] = "cosines"
    norm_is_meaningful: ClassVar[bool] = True

    def __init__(
        self,
        class_counts: ClassCounts,
        *,
        margin_rad: float = 0.5,
        scale: float = 32.0,
        monotone: bool = False,
    ) -> None:
        super().__init__(class_counts)
        self.margin_rad = check_angle("margin_rad", margin_rad)
        self.scale = check_scale(scale)
        self.monotone = monotone

    def adjusted(self, scores: Tensor, target: Tensor) -> Tensor:
        """Return the scaled cosines, the target's of the wider angle."""
        return arcface_logits(
            scores,
            target,
            margin_rad=self.margin_rad,
            scale=self.scale,
            monotone=self.monotone,
        )
