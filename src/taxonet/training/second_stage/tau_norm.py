"""Tau-normalisation: the lengths of the weight vectors taken back, in part or in full."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from taxonet.losses.checks import check_number
from taxonet.models import Head
from taxonet.models.heads import SHORTEST_NORM
from taxonet.registry import SECOND_STAGES
from taxonet.training.second_stage.base import SecondStage, StageInput, linear_head


def tau_normalised(weight: Tensor, *, tau: float) -> Tensor:
    """Return ``w_k / |w_k|^tau`` for each row; a row of norm 0 stays 0.

    Examples:
        >>> tau_normalised(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), tau=1.0).tolist()
        [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    norms: Tensor = torch.linalg.vector_norm(weight, dim=1, keepdim=True)
    return weight / norms.clamp_min(SHORTEST_NORM) ** tau


@SECOND_STAGES.register("tau_norm")
@dataclass(frozen=True, kw_only=True)
class TauNormalisation(SecondStage):
    """The linear head of stage 1 with its weights divided by a power of their norms, and no bias.

    ``w_k <- w_k / |w_k|^tau``, ``b_k <- 0``. Frequent classes end stage 1 with longer weights,
    which favours them. Nothing is fitted: no embedding is asked for, and there is no chance in it.
    The probabilities of the new head are not those of a fitted one; calibrate them.

    Args:
        tau: 0 leaves the weights as they are, 1 gives all the norm 1; at least 0. The paper chooses
            it on validation images.

    Raises:
        ConfigError: A tau outside its range.

    Reference:
        Kang et al. 2020, Decoupling Representation and Classifier for Long-Tailed Recognition,
        section 4, tau-normalised classifier.

    Examples:
        >>> from taxonet.models import LinearHead
        >>> from taxonet.training.second_stage import CachedEmbeddings
        >>> source = CachedEmbeddings(torch.zeros(2, 8), torch.tensor([0, 1]))
        >>> stage, old = TauNormalisation(tau=1.0), LinearHead(8, 2)
        >>> head = stage.fit(source, head=old, class_counts=[9, 1], seed=0)
        >>> [round(norm, 5) for norm in head.weight.norm(dim=1).tolist()]
        [1.0, 1.0]
    """

    needs_linear_head: ClassVar[bool] = True
    tau: float = 1.0

    def __post_init__(self) -> None:
        check_number("tau", self.tau, at_least=0)

    def new_head(self, given: StageInput) -> Head:
        """Return a linear head of normalised weights."""
        old = given.linear_head()
        weight = tau_normalised(old.weight.detach().float(), tau=self.tau)
        return linear_head(weight, torch.zeros_like(old.bias), given)
