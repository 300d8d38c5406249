"""The objective of SMART: tail images borrow the spread of head classes at one layer."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from taxonet.models import Network, Output
from taxonet.recipes import TransferRecipe
from taxonet.training.covariance import (
    ClassStatistics,
    TransferOptions,
    describe,
    transfer,
)
from taxonet.training.objectives.tail_transfer import TailTransferObjective
from taxonet.training.tree_loss import TrainingLoss


class TransferObjective(TailTransferObjective):
    """A batch as it is drawn, and a tail-dominated one whose tail images are transferred.

    At the chosen layer the statistics of every class are updated first. Then each image of the
    tail-dominated batch (part 1) that is of a tail class gets the covariance of a head class, and
    with it the weight of its loss. All other images keep features and weight 1.

    Args:
        network: As for `TailTransferObjective`, as are all others.
        loss: See there.
        recipe: See there.
        layer: The module of the network whose output is changed.
        statistics: The running statistics of its feature map.
        tail_classes: See there.
        head_classes: See there.
        similarity: See there.

    Reference:
        Zhang et al., Semantic Transfer from Head to Tail, algorithm 1; training on both batches
        is what its eq. 10 and 11 say, on the tail batch alone what the algorithm prints.
    """

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
        super().__init__(
            network,
            loss,
            recipe=recipe,
            tail_classes=tail_classes,
            head_classes=head_classes,
            similarity=similarity,
        )
        self.statistics = statistics
        size = (statistics.classes, statistics.channels)
        self.notes = (describe(*size, covariance=recipe.covariance, rank=recipe.rank),)
        self.options = TransferOptions(
            tau=recipe.tau,
            normalise=recipe.normalise,
            weight_min=recipe.weight_min,
            weight_max=recipe.weight_max,
        )
        self._layer = [layer]  # in a list, or it would be a second name for the same weights

    def transferred(
        self, images: Tensor, target: Tensor, heads: Tensor
    ) -> tuple[Output, Tensor | None]:
        """Return what the network makes of images ``(B, 3, S, S)``, its layer changed."""
        with self._changed_layer(target, heads) as weights:
            output: Output = self.network(images)
        return output, weights[0]

    @contextmanager
    def _changed_layer(self, target: Tensor, heads: Tensor) -> Iterator[list[Tensor]]:
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
