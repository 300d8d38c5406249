"""What every objective shares: images to scores, scores to the loss of one head or of several."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from taxonet.losses import ExpertLoss
from taxonet.models import ExpertHeads, LevelCosineHead, Network, Output
from taxonet.training.tree_loss import TrainingLoss


class StepOutput(NamedTuple):
    """What a step hands back to the loop."""

    loss: Tensor
    """Scalar that carries the gradient."""
    images: int
    """Images that entered the loss."""
    tail_kept: int
    """Added tail images among them."""
    figures: Mapping[str, float] = MappingProxyType({})
    """What else the log should hold, by name."""


class Objective(nn.Module, ABC):
    """Images to one loss.

    Args:
        network: Backbone and head.
        loss: A registered loss; its parameters train beside the network's.
    """

    compares_views: ClassVar[bool] = False
    """Whether every part of a batch must hold the same images in the same order."""
    notes: tuple[str, ...] = ()
    """What a user should know before the run starts."""

    def __init__(self, network: Network, loss: TrainingLoss) -> None:
        super().__init__()
        self.network = network
        self.loss = loss

    @abstractmethod
    def forward(
        self, images: Tensor, target: Tensor, part: Tensor, *, keep: int, key: tuple[Any, ...]
    ) -> StepOutput:
        """Compute the loss of a batch.

        Args:
            images: uint8 ``(B, 3, S, S)``.
            target: Class indices ``(B,)``.
            part: 0 for the batch proper, from 1 for what was put on top of it, ``(B,)``.
            keep: Images of the batch proper where none was broken.
            key: Key of the step's randomness.
        """

    def start_epoch(self, epoch: int) -> None:
        """Prepare for an epoch, from 0; not called where a resumed run goes on within one."""

    def end_epoch(self) -> None:
        """Bring the network up to date, before it is judged or kept."""

    @property
    def kept(self) -> nn.Module:
        """What is put back to the epoch that is kept."""
        return self.network

    def export(self, folder: Path) -> None:
        """Write into the run's folder what training made besides the network."""

    def loss_parameters(self) -> list[nn.Parameter]:
        """Return what losses learn, and scales: no weights, which a decay would pull to 0."""
        head = self.network.head
        scales = [head.log_scales] if isinstance(head, LevelCosineHead) else []
        return [*self.loss.parameters(), *scales]

    def score_loss(
        self, output: Output, target: Tensor, *, sample_weights: Tensor | None = None
    ) -> Tensor:
        """Return the loss of the scores; several experts are judged each, or all together."""
        head = self.network.head
        if isinstance(self.loss, ExpertLoss):
            assert isinstance(head, ExpertHeads)  # the assembly has seen to it
            value: Tensor = self.loss(head.expert_scores(output.embedding), target)
            return value
        scores = (
            head.expert_scores(output.embedding)
            if isinstance(head, ExpertHeads)
            else [output.scores]
        )
        losses = [self.loss(one, target, sample_weights=sample_weights) for one in scores]
        mean: Tensor = sum(losses[1:], start=losses[0]) / len(losses)
        return mean
