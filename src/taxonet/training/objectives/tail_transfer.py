"""The step that both forms of SMART share: a batch, and a tail-dominated one that is changed."""

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from taxonet.models import Network, Output
from taxonet.recipes import TransferRecipe
from taxonet.training.covariance import HeadChoice, prototype_similarity, weight_quantiles
from taxonet.training.objectives.base import Objective, StepOutput
from taxonet.training.tree_loss import TrainingLoss


class TailTransferObjective(Objective):
    """A batch as it is drawn, and a tail-dominated one whose tail images borrow from head classes.

    Each image of the tail-dominated batch (part 1) that is of a tail class draws a head class. All
    other images stay as they are.

    Args:
        network: As for `Objective`, as is ``loss``.
        loss: See there.
        recipe: Options.
        tail_classes: Indices of the tail classes.
        head_classes: Indices of the head classes.
        similarity: ``(tail classes, head classes)``, or None: all alike, or as the recipe says
            after the class weights of the moment.
    """

    similarity: Tensor

    def __init__(
        self,
        network: Network,
        loss: TrainingLoss,
        *,
        recipe: TransferRecipe,
        tail_classes: NDArray[np.int64],
        head_classes: NDArray[np.int64],
        similarity: ArrayLike | None = None,
    ) -> None:
        super().__init__(network, loss)
        self.recipe = recipe
        self._tail, self._head = tail_classes, head_classes
        shape = (len(tail_classes), len(head_classes))
        start = np.zeros(shape) if similarity is None else np.asarray(similarity)
        # In the state, so that a resumed epoch goes on with the similarities it began with.
        self.register_buffer("similarity", torch.as_tensor(start, dtype=torch.float32))
        self._choice: HeadChoice | None = None

    def start_epoch(self, epoch: int) -> None:
        """Compare the classes anew where their weights decide which are similar."""
        if self.recipe.similar is not None and self.recipe.similarity == "prototypes":
            near = prototype_similarity(self.network.head.weight.detach(), self._tail, self._head)
            self.similarity.copy_(torch.as_tensor(near))
            self._choice = None

    def forward(
        self, images: Tensor, target: Tensor, part: Tensor, *, keep: int, key: tuple[Any, ...]
    ) -> StepOutput:
        """Compute the weighted loss of both batches, or of the tail-dominated one."""
        heads = self._head_choice().draw(target, *key).masked_fill(part == 0, -1)
        output, weights = self.transferred(images, target, heads)
        figures = {}
        if weights is not None and bool((heads >= 0).any()):
            figures = weight_quantiles(weights[heads >= 0])
        # Where no tail image can be read, the batch proper is all there is to learn from.
        if self.recipe.train_on == "tail" and bool((part == 1).any()):
            chosen = part == 1
            output = Output(*(values[chosen] for values in output))
            target, part = target[chosen], part[chosen]
            weights = None if weights is None else weights[chosen]
        loss = self.score_loss(output, target, sample_weights=weights)
        return StepOutput(
            loss,
            len(target),
            int((part == 1).sum()),
            {f"weight_{name}": value for name, value in figures.items()},
        )

    @abstractmethod
    def transferred(
        self, images: Tensor, target: Tensor, heads: Tensor
    ) -> tuple[Output, Tensor | None]:
        """Return what the network makes of the changed images.

        Args:
            images: As for `forward`.
            target: Class indices ``(B,)``.
            heads: Head class of each image, -1 where it stays as it is, ``(B,)``.

        Returns:
            The output, and the weight of each image ``(B,)``; None: 1 for all.
        """

    def _head_choice(self) -> HeadChoice:
        if self._choice is None:
            similar = self.recipe.similar
            self._choice = HeadChoice(
                self._tail,
                self._head,
                similarity=None if similar is None else self.similarity.cpu().numpy(),
                k=1 if similar is None else similar,
            )
        return self._choice
