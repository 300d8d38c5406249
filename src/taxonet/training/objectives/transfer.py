"""The objective of SMART: tail images borrow the spread of head classes at one layer."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from taxonet.models import Network, Output
from taxonet.recipes import TransferRecipe
from taxonet.training.covariance import (
    ClassStatistics,
    HeadChoice,
    TransferOptions,
    describe,
    prototype_similarity,
    transfer,
    weight_quantiles,
)
from taxonet.training.objectives.base import Objective, StepOutput
from taxonet.training.tree_loss import TrainingLoss


class TransferObjective(Objective):
    """A batch as it is drawn, and a tail-dominated one whose tail images are transferred.

    At the chosen layer the statistics of every class are updated first. Then each image of the
    tail-dominated batch (part 1) that is of a tail class gets the covariance of a head class, and
    with it the weight of its loss. All other images keep features and weight 1.

    Args:
        network: As for `Objective`, as is ``loss``.
        loss: See there.
        recipe: Options.
        layer: The module of the network whose output is changed.
        statistics: The running statistics of its feature map.
        tail_classes: Indices of the tail classes.
        head_classes: Indices of the head classes.
        similarity: ``(tail classes, head classes)``, or None: all alike, or as the recipe says
            after the class weights of the moment.

    Reference:
        Zhang et al., Semantic Transfer from Head to Tail, algorithm 1; training on both batches
        is what its eq. 10 and 11 say, on the tail batch alone what the algorithm prints.
    """

    similarity: Tensor

    def __init__(
        self,
        network: Network,
        loss: TrainingLoss,
        *,
        recipe: TransferRecipe,
        layer: nn.Module,
        statistics: ClassStatistics,
        tail_classes: NDArray[np.int64],
        head_classes: NDArray[np.int64],
        similarity: ArrayLike | None = None,
    ) -> None:
        super().__init__(network, loss)
        self.recipe, self.statistics = recipe, statistics
        size = (statistics.classes, statistics.channels)
        self.notes = (describe(*size, covariance=recipe.covariance, rank=recipe.rank),)
        self.options = TransferOptions(
            tau=recipe.tau,
            normalise=recipe.normalise,
            weight_min=recipe.weight_min,
            weight_max=recipe.weight_max,
        )
        self._layer = [layer]  # in a list, or it would be a second name for the same weights
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
        with self._transferred(target, heads) as weights_of:
            output: Output = self.network(images)
        weights = weights_of[0]
        borrowed = heads >= 0
        figures = weight_quantiles(weights[borrowed]) if bool(borrowed.any()) else {}
        # Where no tail image can be read, the batch proper is all there is to learn from.
        if self.recipe.train_on == "tail" and bool((part == 1).any()):
            chosen = part == 1
            output = Output(*(values[chosen] for values in output))
            target, weights, part = target[chosen], weights[chosen], part[chosen]
        loss = self.score_loss(output, target, sample_weights=weights)
        return StepOutput(
            loss,
            len(target),
            int((part == 1).sum()),
            {f"weight_{name}": value for name, value in figures.items()},
        )

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

    @contextmanager
    def _transferred(self, target: Tensor, heads: Tensor) -> Iterator[list[Tensor]]:
        """Change the layer's output for as long as the block lasts, and note the weights."""
        weights: list[Tensor] = []

        def change(_module: nn.Module, _given: Any, features: Tensor) -> Tensor:
            self.statistics.update(features, target)
            changed = transfer(
                features, target, heads, statistics=self.statistics, options=self.options
            )
            weights.append(changed.weights)
            return changed.features

        handle = self._layer[0].register_forward_hook(change)
        try:
            yield weights
        finally:
            handle.remove()
