"""Experts that are rewarded for answering differently, above all on rare classes: RIDE."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from taxonet.errors import ConfigError
from taxonet.losses.base import Loss
from taxonet.losses.checks import (
    ClassCounts,
    check_class_counts,
    check_number,
    check_scale,
    check_share,
)
from taxonet.losses.classification import CrossEntropyLoss
from taxonet.losses.experts import ExpertLoss
from taxonet.losses.ldam import LDAMLoss
from taxonet.registry import EXPERT_LOSSES

Base = Literal["ldam", "ce"]
Awareness = Literal["always", "deferred"]


def relative_temperatures(class_counts: ClassCounts, frequency_share: float) -> Tensor:
    """Return the temperature of each class relative to that of the most common one.

    ``b_k / max b`` with ``b_k = g c N_k / N + 1 - g``, g being the share.

    Returns:
        float64 ``(c,)``, each in (0, 1], lower for rarer classes; all 1 at a share of 0.

    Raises:
        ConfigError: A share outside [0, 1).
        DataError: Counts of a wrong form.

    Examples:
        >>> relative_temperatures([3, 1], 0.5)  # b = 1.25, 0.75
        tensor([1.0000, 0.6000], dtype=torch.float64)
    """
    share = check_share("frequency_share", frequency_share)
    counts = check_class_counts(class_counts).double()
    temperatures = share * len(counts) * counts / counts.sum() + 1 - share
    return temperatures / temperatures.max()


def expert_diversity(logits_of_experts: Sequence[Tensor], temperatures: Tensor) -> Tensor:
    """Return how far the experts' answers are from their common one, a scalar, in nats.

    ``mean(T)^2 sum_i KL( softmax(m / T) || softmax(l_i / T) )``, the mean over the batch, where m
    are the mean logits of the experts.

    Args:
        logits_of_experts: Tensors ``(B, c)``.
        temperatures: The temperature T of each class ``(c,)``.

    Examples:
        >>> one, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]])
        >>> expert_diversity([one, other], torch.ones(2))  # 2 log((e^1/2 + e^-1/2) / 2)
        tensor(0.2402)
    """
    # Detached, as it costs nothing: through the mean, the gradients of all experts sum to 0.
    mean = torch.stack([logits.detach() for logits in logits_of_experts]).mean(0)
    common = (mean / temperatures).log_softmax(1)
    divergences = [
        F.kl_div(
            (logits / temperatures).log_softmax(1), common, reduction="batchmean", log_target=True
        )
        for logits in logits_of_experts
    ]
    return temperatures.mean().square() * torch.stack(divergences).sum()


@EXPERT_LOSSES.register("ride")
class RIDELoss(ExpertLoss):
    """LDAM or cross entropy for every expert, less the diversity of their answers (RIDE, stage 1).

    ``L = sum_i [ L_i - diversity_weight mean(T)^2 KL( softmax(m / T) || softmax(l_i / T) ) ]``,
    where ``L_i`` is the classification loss of expert i, ``l_i`` its logits (the scaled cosines
    under LDAM) without margin, and m their mean over the experts. The temperature of class k is
    ``T_k = T b_k / max b``, ``b_k = g c N_k / N + 1 - g`` (`relative_temperatures`): lower for
    rarer classes, on which the experts are so driven further apart.

    RIDE's second stage, a module that decides from one expert to the next whether another is asked,
    is not part of this, nor its distillation from more experts: all experts answer, and their mean
    is the prediction.

    Differs from the authors' code: theirs uses the class temperatures from the epoch of deferred
    re-weighting on and T for all classes before, which is ``distribution_aware="deferred"`` here,
    from the first `reweight` on. The paper compares the experts in pairs; their code and this loss
    compare each with the mean.

    Shape:
        As `ExpertLoss`; cosines for ``base="ldam"``, logits for ``base="ce"``.

    Args:
        class_counts: Training images of each class, integers ``(c,)``, each at least 1, c >= 2.
        base: The classification loss, ``"ldam"`` or ``"ce"``.
        diversity_weight: At least 0; 0 leaves the classification losses alone.
        diversity_temperature: T > 0, the temperature of the most common class.
        frequency_share: g in [0, 1), how much the temperatures follow the counts.
        distribution_aware: ``"always"``, or ``"deferred"``: once classes are re-weighted.
        max_margin_cos: The margin of the rarest class, for ``"ldam"``; see `LDAMLoss`.
        scale: The scale of the cosines, for ``"ldam"``; it is 1 for ``"ce"``.

    Raises:
        ConfigError: An option outside its range.
        DataError: Counts, scores or targets of a wrong form; fewer than 2 experts.

    Reference:
        Wang et al. 2021, Long-Tailed Recognition by Routing Diverse Distribution-Aware Experts,
        stage one.

    Examples:
        >>> loss = RIDELoss([3, 1], base="ce", diversity_weight=1.0, frequency_share=0.0)
        >>> one, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]])
        >>> loss([one, other], torch.tensor([0]))  # 0.3133 + 1.3133 - 0.2402
        tensor(1.3863)
    """

    temperatures: Tensor

    def __init__(
        self,
        class_counts: ClassCounts,
        *,
        base: Base = "ldam",
        diversity_weight: float = 0.2,
        diversity_temperature: float = 1.0,
        frequency_share: float = 0.05,
        distribution_aware: Awareness = "always",
        max_margin_cos: float = 0.5,
        scale: float = 30.0,
    ) -> None:
        super().__init__(class_counts)
        if base not in get_args(Base):
            raise ConfigError(f"base must be 'ldam' or 'ce', but is {base!r}.")
        if distribution_aware not in get_args(Awareness):
            raise ConfigError(
                f"distribution_aware must be 'always' or 'deferred', but is {distribution_aware!r}."
            )
        self.base = base
        self.diversity_weight = check_number("diversity_weight", diversity_weight, at_least=0)
        self.diversity_temperature = check_number("diversity_temperature", diversity_temperature)
        if self.diversity_temperature <= 0:
            raise ConfigError(
                f"diversity_temperature must be above 0, but is {diversity_temperature}."
            )
        self.frequency_share = frequency_share
        self.distribution_aware = distribution_aware
        self.max_margin_cos = max_margin_cos
        self.classification: Loss = (
            CrossEntropyLoss(class_counts)
            if base == "ce"
            else LDAMLoss(class_counts, max_margin_cos=max_margin_cos, scale=check_scale(scale))
        )
        self.takes = self.classification.takes
        self.scale = self.classification.scale
        relative = relative_temperatures(class_counts, frequency_share)
        temperatures = self.diversity_temperature * relative
        self.register_buffer("temperatures", temperatures.float())

    def reweight(self, class_weights: Tensor | None) -> None:
        """Weigh the images of each class by ``class_weights`` ``(c,)`` from now on; None: evenly.

        Only the classification losses; see `Loss.reweight`.
        """
        self.classification.reweight(class_weights)

    def joint(self, scores_of_experts: Sequence[Tensor], target: Tensor) -> Tensor:
        """Return the loss of a checked batch, a scalar."""
        losses = [self.classification(scores, target) for scores in scores_of_experts]
        logits = [self.scale * scores for scores in scores_of_experts]
        diversity = expert_diversity(logits, self._temperatures_now())
        return torch.stack(losses).sum() - self.diversity_weight * diversity

    def _temperatures_now(self) -> Tensor:
        if self.distribution_aware == "deferred" and self.classification.class_weights is None:
            return torch.full_like(self.temperatures, self.diversity_temperature)
        return self.temperatures
