"""The objective of contrastive learning: classification on one view, contrast on two others."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taxonet.models import Network, Output
from taxonet.recipes import ContrastRecipe
from taxonet.seeds import seed_of
from taxonet.training.objectives.base import Objective, StepOutput
from taxonet.training.tree_contrast import TrainingContrast
from taxonet.training.tree_loss import TrainingLoss

VIEWS = ("contrast", "contrast")
"""The views of each image that a batch holds besides the one that is classified."""


class ContrastObjective(Objective):
    """``a * classification + b * contrastive``, on three views of each image.

    The embeddings of two views, and the class weights of the head, each go through a perceptron
    of one hidden layer onto the unit sphere, where the contrastive loss compares them. Both
    perceptrons belong to training only: prediction needs neither. A loss that compares views with
    one another alone leaves the class weights out.

    Args:
        network: As for `Objective`, as is ``loss``.
        loss: See there.
        contrastive: A registered contrastive loss.
        contrast: Weights and sizes.
        seed: Key of the perceptrons' first weights.

    Reference:
        Zhu et al. 2022, Balanced Contrastive Learning for Long-Tailed Visual Recognition,
        section 3.4; the factors 2.0 and 0.6 are DBM's (Difficulty-aware Balancing Margin).
    """

    compares_views: ClassVar[bool] = True

    def __init__(
        self,
        network: Network,
        loss: TrainingLoss,
        *,
        contrastive: TrainingContrast,
        contrast: ContrastRecipe,
        seed: int,
    ) -> None:
        super().__init__(network, loss)
        self.contrastive, self.contrast = contrastive, contrast
        size = network.head.embedding_size
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed_of("projections", seed))
            self.project_features = _perceptron(size, contrast)
            # Processes that train together do not bear weights that no loss reaches.
            self.project_weights = (
                _perceptron(size, contrast) if contrastive.needs_centers else None
            )

    def loss_parameters(self) -> list[nn.Parameter]:
        """Return what both losses learn."""
        return [*super().loss_parameters(), *self.contrastive.parameters()]

    def forward(
        self, images: Tensor, target: Tensor, part: Tensor, *, keep: int, key: tuple[Any, ...]
    ) -> StepOutput:
        """Compute both losses; the views of an image stand in the same order in every part."""
        output: Output = self.network(images)
        first = part == 0
        labels = target[first]
        classified = self.score_loss(Output(*(values[first] for values in output)), labels)
        features = F.normalize(self.project_features(output.embedding[~first]).float(), dim=1)
        views = torch.stack((features[: len(labels)], features[len(labels) :]), dim=1)  # (B, 2, D)
        contrasted = self.contrastive(self._class_centers(), views, labels)
        total = self.contrast.classification_weight * classified
        return StepOutput(total + self.contrast.weight * contrasted, len(labels), 0)

    def _class_centers(self) -> Tensor | None:
        if self.project_weights is None:
            return None
        return F.normalize(self.project_weights(self.network.head.weight).float(), dim=1)


def _perceptron(size: int, contrast: ContrastRecipe) -> nn.Sequential:
    hidden = nn.Linear(size, contrast.hidden_size)
    return nn.Sequential(hidden, nn.ReLU(), nn.Linear(contrast.hidden_size, contrast.size))
