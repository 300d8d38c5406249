"""Learnable weight scaling: one factor a class on the weights of stage 1."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taxonet.losses import CrossEntropyLoss
from taxonet.models import Head
from taxonet.registry import SECOND_STAGES
from taxonet.training.second_stage.base import SecondStage, StageInput, linear_head
from taxonet.training.second_stage.fitting import check_descent, fit_head


class ScaledLinear(nn.Module):
    """A frozen affine map with one factor to learn for each of its outputs, from 1 on.

    Args:
        weight: ``(c, d)``.
        bias: ``(c,)``.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.factors = nn.Parameter(torch.ones_like(bias))

    def forward(self, embedding: Tensor) -> Tensor:
        """Return the logits ``(B, c)``."""
        return self.factors * F.linear(embedding, self.weight, self.bias)


@SECOND_STAGES.register("lws")
@dataclass(frozen=True, kw_only=True)
class LearnableWeightScaling(SecondStage):
    """The linear head of stage 1 with one learned factor a class on its logits.

    ``logits_k = f_k (w_k x + b_k)``, with f from 1 on and w, b fixed, fitted by cross entropy on
    class-balanced batches; the rate falls to 0 along a cosine. The factors are folded into the
    weights and biases of the new head, which is an ordinary linear one.

    Args:
        epochs: Times as many draws as there are images.
        batch_size: Draws in a batch.
        learning_rate: Of the first batch, above 0.
        weight_decay: Of the factors, at least 0.

    Raises:
        ConfigError: An option outside its range.

    Reference:
        Kang et al. 2020, Decoupling Representation and Classifier for Long-Tailed Recognition,
        section 4; defaults of the authors' code for ImageNet-LT, in which the factor acts on the
        bias too.

    Examples:
        >>> from taxonet.models import LinearHead
        >>> from taxonet.training.second_stage import CachedEmbeddings
        >>> source = CachedEmbeddings(torch.eye(2), torch.tensor([0, 1]))
        >>> old = LinearHead(2, 2)
        >>> head = LearnableWeightScaling().fit(source, head=old, class_counts=[9, 1], seed=0)
        >>> directions = torch.nn.functional.cosine_similarity(head.weight, old.weight)
        >>> [round(cosine, 5) for cosine in directions.tolist()]
        [1.0, 1.0]
    """

    needs_linear_head: ClassVar[bool] = True
    epochs: int = 5
    batch_size: int = 512
    learning_rate: float = 0.2
    weight_decay: float = 5e-4

    def __post_init__(self) -> None:
        check_descent(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
        )

    def new_head(self, given: StageInput) -> Head:
        """Return a linear head of scaled weights and biases."""
        old = given.linear_head()
        scaled = ScaledLinear(old.weight.detach().float(), old.bias.detach().float())
        group = {
            "params": [scaled.factors],
            "lr": self.learning_rate,
            "weight_decay": self.weight_decay,
        }
        fit_head(
            scaled,
            given,
            CrossEntropyLoss(given.class_counts),
            [group],
            epochs=self.epochs,
            batch_size=self.batch_size,
            schedule="cosine",
        )
        factors = scaled.factors.detach()
        return linear_head(factors.unsqueeze(1) * scaled.weight, factors * scaled.bias, given)
