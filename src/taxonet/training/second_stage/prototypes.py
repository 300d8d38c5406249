"""Learned prototypes: class means that are moved by gradients of distances."""

from dataclasses import dataclass
from typing import Any

from taxonet.losses import LogitAdjustedLoss
from taxonet.losses.checks import check_number
from taxonet.models import Head
from taxonet.models.prototype import Distance, check_distance
from taxonet.registry import SECOND_STAGES
from taxonet.training.second_stage.base import SecondStage, StageInput
from taxonet.training.second_stage.fitting import check_descent, fit_head
from taxonet.training.second_stage.ncm import head_at_means


@SECOND_STAGES.register("prototype")
@dataclass(frozen=True, kw_only=True)
class PrototypeLearning(SecondStage):
    """Prototypes that start at the class means and are learned, with channel temperatures.

    ``L = -log softmax(-d(g, c_k) / 2 + tau log N_k)_y``, the mean over class-balanced batches;
    prediction leaves ``tau log N_k`` out. With the defaults it is what the paper calls PC from its
    section 4.4 on (PC + CDT + LA); ``tau=0, channel_temperature=False`` is plain PC. It works after
    any head.

    With plain Euclidean distances the gradient of an image on a prototype has at most the norm 1/2,
    however far the two are apart. So the learning rate is in units of the embeddings: 4, which the
    paper takes for the last layer of a network, is far too much for vectors of length 1.

    Args:
        distance: As in `PrototypeHead`.
        channel_temperature: Whether each channel has a temperature; ``cosine`` has none.
        tau: How much class sizes count in training, at least 0.
        epochs: Times as many draws as there are images.
        batch_size: Draws in a batch; the paper prints none for this stage.
        learning_rate: Of the prototypes, in units of the embeddings, above 0; constant.
        temperature_learning_rate: Of the logarithms of the temperatures, at least 0; constant.

    Raises:
        ConfigError: An option outside its range.

    Reference:
        Learning Prototype Classifiers for Long-Tailed Recognition, eq. 5 and Algorithm 1. There
        the temperature itself takes the step; at T = 1 the two are the same.

    Examples:
        >>> import torch
        >>> from taxonet.models import LinearHead
        >>> from taxonet.training.second_stage import CachedEmbeddings
        >>> source = CachedEmbeddings(torch.tensor([[0.0], [4.0]]), torch.tensor([0, 1]))
        >>> stage = PrototypeLearning(tau=0.0, channel_temperature=False, learning_rate=1.0)
        >>> head = stage.fit(source, head=LinearHead(1, 2), class_counts=[1, 1], seed=0)
        >>> head.weight.diff(dim=0).item() > 4  # pushed apart
        True
    """

    distance: Distance = "euclidean"
    channel_temperature: bool = True
    tau: float = 0.25
    epochs: int = 1
    batch_size: int = 64
    learning_rate: float = 4.0
    temperature_learning_rate: float = 0.005

    def __post_init__(self) -> None:
        check_distance(self.distance)
        check_number("tau", self.tau, at_least=0)
        check_descent(
            epochs=self.epochs, batch_size=self.batch_size, learning_rate=self.learning_rate
        )
        check_number("temperature_learning_rate", self.temperature_learning_rate, at_least=0)

    def new_head(self, given: StageInput) -> Head:
        """Return a prototype head, fitted from the class means on."""
        head = head_at_means(
            given, distance=self.distance, channel_temperature=self.channel_temperature
        )
        groups: list[dict[str, Any]] = [{"params": [head.weight], "lr": self.learning_rate}]
        if head.log_temperature is not None:
            groups.append({"params": [head.log_temperature], "lr": self.temperature_learning_rate})
        fit_head(
            head,
            given,
            LogitAdjustedLoss(given.class_counts, tau=self.tau),
            groups,
            epochs=self.epochs,
            batch_size=self.batch_size,
            schedule="constant",
        )
        return head
