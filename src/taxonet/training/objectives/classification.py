"""The plain objective: the loss of a batch, or of the images selected from an extended one."""

from typing import Any

from torch import Tensor

from taxonet.models import Network, Output
from taxonet.recipes import SelectionRecipe
from taxonet.training.objectives.base import Objective, StepOutput
from taxonet.training.selection import lowest_norms, random_keep
from taxonet.training.tree_loss import TrainingLoss


class ClassificationObjective(Objective):
    """Images to one loss, with tail images selected where a recipe asks for it.

    Args:
        network: As for `Objective`, as is ``loss``.
        loss: See there.
        selection: The rule that keeps a batch's worth of an extended batch, or None.
    """

    def __init__(
        self,
        network: Network,
        loss: TrainingLoss,
        *,
        selection: SelectionRecipe | None = None,
    ) -> None:
        super().__init__(network, loss)
        self.selection = selection

    def forward(
        self, images: Tensor, target: Tensor, part: Tensor, *, keep: int, key: tuple[Any, ...]
    ) -> StepOutput:
        """Compute the loss of a batch; of more than ``keep`` images, that many are selected."""
        output: Output = self.network(images)
        if self.selection is not None and len(images) > keep:
            if self.selection.keep == "lowest_norm":
                chosen = lowest_norms(output.embedding, keep)
            else:
                chosen = random_keep(len(images), keep, *key).to(images.device)
            output = Output(*(values[chosen] for values in output))
            target, part = target[chosen], part[chosen]
        return StepOutput(self.score_loss(output, target), len(target), int((part > 0).sum()))
