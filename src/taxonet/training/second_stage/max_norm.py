"""Weight decay and a largest norm: no class may have longer weights than the radius."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from taxonet.errors import ConfigError
from taxonet.losses import CrossEntropyLoss
from taxonet.losses.checks import check_number
from taxonet.models import Head
from taxonet.registry import SECOND_STAGES
from taxonet.training.second_stage.base import SecondStage, StageInput, linear_head
from taxonet.training.second_stage.fitting import check_descent, fit_head

#: Where the radius lies between the smallest norm of stage 1 and the largest.
_SHARE_OF_NORMS = 0.1


def radius_between(weight: Tensor) -> float:
    """Return the smallest norm of the rows plus a tenth of the way to the largest.

    Examples:
        >>> radius_between(torch.tensor([[3.0, 4.0], [15.0, 0.0]]))
        6.0
    """
    norms = torch.linalg.vector_norm(weight, dim=1)
    return torch.lerp(norms.min(), norms.max(), _SHARE_OF_NORMS).item()


@torch.no_grad()
def project_rows_(weight: Tensor, radius: float) -> None:
    """Shorten, in place, the rows whose norm is above the radius to the radius.

    Examples:
        >>> weight = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
        >>> project_rows_(weight, 1.0)
        >>> weight
        tensor([[0.6000, 0.8000],
                [0.3000, 0.4000]])
    """
    norms = torch.linalg.vector_norm(weight, dim=1, keepdim=True)
    weight.mul_(radius / norms.clamp_min(radius))


@SECOND_STAGES.register("max_norm")
@dataclass(frozen=True, kw_only=True)
class MaxNorm(SecondStage):
    """The linear head of stage 1, fitted on with strong weight decay under a largest norm.

    ``L = -log softmax(W x + b)_y`` plus ``weight_decay / 2 (|W|^2 + |b|^2)``, and after every
    update ``w_k <- min(1, r / |w_k|) w_k``. The decay shortens all weights, the radius cuts those
    of frequent classes; the rate falls to 0 along a cosine.

    Args:
        radius: The largest norm r, above 0. None: the smallest norm in the head of stage 1 plus a
            tenth of the way to the largest, which is the rule of the authors' code.
        epochs: Times as many draws as there are images.
        batch_size: Draws in a batch.
        learning_rate: Of the first batch, above 0.
        weight_decay: Of weights and biases, at least 0.

    Raises:
        ConfigError: An option outside its range, or a head of stage 1 with weights of norm 0 only.

    Reference:
        Alshammari et al. 2022, Long-Tailed Recognition via Weight Balancing, section 3; defaults of
        the authors' code for CIFAR-100-LT. It differs from that code in drawing classes evenly,
        where the code weighs a loss of single images by class size, and in projecting after every
        update and not after every epoch.

    Examples:
        >>> from taxonet.models import LinearHead
        >>> from taxonet.training.second_stage import CachedEmbeddings
        >>> source = CachedEmbeddings(torch.eye(2), torch.tensor([0, 1]))
        >>> stage = MaxNorm(radius=0.001)
        >>> head = stage.fit(source, head=LinearHead(2, 2), class_counts=[9, 1], seed=0)
        >>> bool((head.weight.norm(dim=1) <= 0.00101).all())
        True
    """

    needs_linear_head: ClassVar[bool] = True
    radius: float | None = None
    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 0.01
    weight_decay: float = 0.1

    def __post_init__(self) -> None:
        if self.radius is not None and check_number("radius", self.radius, at_least=0) == 0:
            raise ConfigError("radius must be above 0; leave it out to take it from stage 1.")
        check_descent(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
        )

    def new_head(self, given: StageInput) -> Head:
        """Return a linear head, fitted from the one of stage 1 on."""
        old = given.linear_head()
        head = linear_head(old.weight, old.bias, given)
        radius = radius_between(head.weight.detach()) if self.radius is None else self.radius
        if radius == 0:
            raise ConfigError(
                "All weights of the head of stage 1 are 0, so they give no radius. Give one."
            )
        group = {
            "params": list(head.parameters()),
            "lr": self.learning_rate,
            "weight_decay": self.weight_decay,
        }
        fit_head(
            head,
            given,
            CrossEntropyLoss(given.class_counts),
            [group],
            epochs=self.epochs,
            batch_size=self.batch_size,
            schedule="cosine",
            after_step=lambda: project_rows_(head.weight, radius),
        )
        return head
