"""Classifier re-training: a fresh linear head on class-balanced batches."""

from dataclasses import dataclass

import torch

from taxonet.losses import CrossEntropyLoss
from taxonet.models import Head
from taxonet.registry import SECOND_STAGES
from taxonet.training.second_stage.base import SecondStage, StageInput, linear_head
from taxonet.training.second_stage.fitting import check_descent, fit_head


@SECOND_STAGES.register("crt")
@dataclass(frozen=True, kw_only=True)
class ClassifierRetraining(SecondStage):
    """A fresh linear head, fitted by cross entropy on class-balanced batches.

    ``L = -log softmax(W x + b)_y``; the rate falls to 0 along a cosine. Weights start at 0 and not
    at random: the loss is convex in them, so chance would add nothing. It works after any head.

    Args:
        epochs: Times as many draws as there are images. The public code counts an epoch as c times
            the images of the largest class, which is more.
        batch_size: Draws in a batch.
        learning_rate: Of the first batch, above 0.
        weight_decay: Of weights and biases, at least 0.

    Raises:
        ConfigError: An option outside its range.

    Reference:
        Kang et al. 2020, Decoupling Representation and Classifier for Long-Tailed Recognition,
        section 4; defaults of the authors' code for ImageNet-LT.

    Examples:
        >>> from taxonet.models import LinearHead
        >>> from taxonet.training.second_stage import CachedEmbeddings
        >>> source = CachedEmbeddings(torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1]))
        >>> stage = ClassifierRetraining(epochs=1, weight_decay=0.0)
        >>> head = stage.fit(source, head=LinearHead(1, 2), class_counts=[1, 1], seed=0)
        >>> head.weight.data  # one update, 0.2 times a gradient of 1/2
        tensor([[-0.1000],
                [ 0.1000]])
    """

    epochs: int = 10
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
        """Return a linear head, fitted from 0 on."""
        weight = torch.zeros(given.head.classes, given.head.embedding_size)
        head = linear_head(weight, weight[:, 0], given)
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
        )
        return head
