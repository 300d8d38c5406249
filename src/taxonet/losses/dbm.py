"""A margin on the target's angle, wider for rarer classes and harder images: DBM."""

import math
from typing import ClassVar, Literal, get_args

from torch import Tensor

from taxonet.errors import ConfigError
from taxonet.losses.angular import check_angle, cos_with_margin
from taxonet.losses.base import Loss
from taxonet.losses.checks import (
    ClassCounts,
    at_least_float32,
    check_class_counts,
    check_number,
    check_scale,
)
from taxonet.losses.class_balanced import class_balanced_weights
from taxonet.losses.logit_adjustment import log_priors
from taxonet.losses.target import target_scores, with_target_scores
from taxonet.registry import LOSSES

Base = Literal["ce", "bs", "cb"]
Positives = Literal["hard", "all", "none"]


def dbm_margins(class_counts: ClassCounts, *, max_margin_rad: float, power: float) -> Tensor:
    """Return the class-wise margins ``m_C = K (N_k / n_min)^(-tau)``, in radians.

    Args:
        class_counts: Training images of each class, integers ``(c,)``, each at least 1, c >= 2.
        max_margin_rad: K in [0, pi], the margin of the rarest class, wherever it stands.
        power: tau, at least 0; with 0 all classes have the margin K.

    Returns:
        float64 ``(c,)``, each in [0, K].

    Raises:
        ConfigError: An option outside its range.
        DataError: Counts of a wrong form.

    Examples:
        >>> dbm_margins([20, 5, 500], max_margin_rad=0.2, power=1.0)
        tensor([0.0500, 0.2000, 0.0020], dtype=torch.float64)
    """
    widest = check_angle("max_margin_rad", max_margin_rad)
    counts = check_class_counts(class_counts).double()
    return widest * (counts.min() / counts) ** check_number("power", power, at_least=0)


def dbm_logits(
    cosines: Tensor,
    target: Tensor,
    *,
    class_margins_rad: Tensor,
    instance_weight: float = 1.0,
    positives: Positives = "hard",
    scale: float,
    monotone: bool = False,
) -> Tensor:
    """Return the scaled cosines ``(B, c)``, the target's angle widened; see `DBMLoss`.

    Args:
        cosines: ``(B, c)`` in [-1, 1]; a little beyond does no harm.
        target: int64 ``(B,)`` in 0..c-1.
        class_margins_rad: The margins m_C ``(c,)`` of `dbm_margins`.
        instance_weight: The factor lambda on the instance-wise margin.
        positives: Which images get the instance-wise margin.
        scale: The scale s of the cosines.
        monotone: See `taxonet.losses.angular.cos_with_margin`.

    Examples:
        >>> import torch
        >>> margins = torch.tensor([torch.pi / 6, 0.1])
        >>> easy, hard = torch.tensor([[0.0, -0.5]]), torch.tensor([[0.0, 0.5]])
        >>> dbm_logits(easy, torch.tensor([0]), class_margins_rad=margins, scale=4.0)
        tensor([[-2., -2.]])
        >>> dbm_logits(hard, torch.tensor([0]), class_margins_rad=margins, scale=4.0)
        tensor([[-2.8284,  2.0000]])
    """
    cosines = at_least_float32(cosines)
    of_target = target_scores(cosines, target)
    margins = class_margins_rad.to(cosines)[target]
    if positives != "none":
        instance_margins = instance_weight * margins * (1 - of_target) / 2
        if positives == "hard":
            # Before any margin: is another class strictly nearer than the target?
            instance_margins = instance_margins * (cosines.amax(1) > of_target)
        margins = margins + instance_margins
    margined = cos_with_margin(of_target, margins, monotone=monotone)
    return scale * with_target_scores(cosines, target, margined)


@LOSSES.register("dbm")
class DBMLoss(Loss):
    """Cross entropy of scaled cosines with a difficulty-aware balancing margin on the target.

    ``L = -log[ e^{s psi} / (e^{s psi} + sum_{k != y} e^{s z_k}) ]``, the mean over the batch, with

    - ``psi = cos(t + m_C + [hard] lambda m_I)``, ``cos t = z_y``;
    - the class-wise margin ``m_C = K (N_y / n_min)^(-tau)``, K for the rarest class;
    - the instance-wise margin ``m_I = m_C (1 - cos t) / 2``, which carries gradient;
    - ``[hard]``: without any margin, another class is strictly nearer than the target.

    ``base`` says what the margins are combined with: ``"ce"`` cross entropy; ``"bs"`` balanced
    softmax, which adds ``log(N_k / N)`` to the scaled, margined logits of all classes in training
    and not in prediction; ``"cb"`` class-balanced weights. DBM-DRW is ``"ce"``, re-weighted late in
    training (`reweight`).

    The rows of the paper's Table 5: *cosine* is ``max_margin_rad=0``; with *m_C* only is
    ``positives="none"``; *P*, all positives, is ``"all"``; *HP*, hard positives, is ``"hard"``;
    each with ``base="ce"`` or ``"bs"``. Its first row, a linear classifier, is the loss
    ``cross_entropy`` or ``balanced_softmax``.

    By the literal formula, images whose widened angle is beyond pi are pushed further away;
    ``monotone`` puts ``-2 - cos(t + m)`` there.

    Shape:
        ``cosines`` ``(B, c)`` in [-1, 1] (a little beyond does no harm); ``target`` int64 ``(B,)``
        in 0..c-1; a scalar comes back, in nats, float32 for half-precision cosines.

    Args:
        class_counts: Training images of each class, integers ``(c,)``, each at least 1, c >= 2.
        max_margin_rad: K >= 0, the class-wise margin of the rarest class, in radians.
        power: tau >= 0; larger values leave common classes less margin.
        instance_weight: lambda >= 0, the factor on the instance-wise margin; the paper's is 1.
        scale: The scale s > 0 of the cosines inside the softmax.
        base: ``"ce"``, ``"bs"`` or ``"cb"``.
        positives: Which images get the instance-wise margin: ``"hard"``, ``"all"`` or ``"none"``.
        monotone: Whether a smaller cosine of the target always costs more; False is the paper's.

    Raises:
        ConfigError: An option outside its range, or margins that could exceed pi.
        DataError: Counts, cosines or targets of a wrong form.

    Reference:
        Son et al. 2025, Difficulty-aware Balancing Margin Loss for Long-tailed Recognition,
        eq. 6 to 9.

    Examples:
        >>> import torch
        >>> loss = DBMLoss([20, 5], max_margin_rad=torch.pi / 6, scale=2.0)
        >>> loss(torch.tensor([[-0.5, 0.0]]), torch.tensor([1]))
        tensor(0.6931)
    """

    takes: ClassVar[Literal["logits", "cosines"]] = "cosines"
    norm_is_meaningful: ClassVar[bool] = True
    class_margins_rad: Tensor
    log_priors: Tensor | None

    def __init__(
        self,
        class_counts: ClassCounts,
        *,
        max_margin_rad: float = 0.1,
        power: float = 1.0,
        instance_weight: float = 1.0,
        scale: float = 32.0,
        base: Base = "ce",
        positives: Positives = "hard",
        monotone: bool = False,
    ) -> None:
        super().__init__(class_counts)
        self.max_margin_rad = check_angle("max_margin_rad", max_margin_rad)
        self.power = check_number("power", power, at_least=0)
        self.instance_weight = check_number("instance_weight", instance_weight, at_least=0)
        self.scale = check_scale(scale)
        self.base = base
        self.positives = positives
        self.monotone = monotone
        self._check_choices()
        margins = dbm_margins(class_counts, max_margin_rad=max_margin_rad, power=power)
        self.register_buffer("class_margins_rad", margins.float())
        self.register_buffer(
            "log_priors", log_priors(class_counts).float() if base == "bs" else None
        )
        if base == "cb":
            self.reweight(class_balanced_weights(class_counts).float())

    def adjusted(self, scores: Tensor, target: Tensor) -> Tensor:
        """Return the scaled cosines, the target's of the wider angle, and the base's priors."""
        logits = dbm_logits(
            scores,
            target,
            class_margins_rad=self.class_margins_rad,
            instance_weight=self.instance_weight,
            positives=self.positives,
            scale=self.scale,
            monotone=self.monotone,
        )
        return logits if self.log_priors is None else logits + self.log_priors.to(logits)

    def _check_choices(self) -> None:
        if self.base not in get_args(Base):
            raise ConfigError(f"base must be 'ce', 'bs' or 'cb', but is {self.base!r}.")
        if self.positives not in get_args(Positives):
            raise ConfigError(
                f"positives must be 'hard', 'all' or 'none', but is {self.positives!r}."
            )
        widest = self.max_margin_rad * (1 + self.instance_weight)
        if widest > math.pi:
            raise ConfigError(
                "max_margin_rad * (1 + instance_weight), the widest margin, must be at most pi "
                f"radians, but is {widest:g}."
            )
