"""Deferred re-weighting: class weights from a given epoch on."""

import torch

from taxonet.errors import ConfigError
from taxonet.losses import ClassCounts, Loss, RIDELoss, class_balanced_weights
from taxonet.recipes import ReweightingRecipe
from taxonet.training.tree_loss import TrainingLoss

#: Epoch 160 of 200 is where the paper and those after it start.
_USUAL_SHARE = 0.8


class Reweighting:
    """Weighs the classes of a loss by their effective numbers of images, late in training.

    Until then the loss is unweighted, so that the features are learned from all images alike.
    The weights are a function of the epoch, so that a resume needs no state for them.

    Args:
        loss: A loss without class weights of its own.
        class_counts: Training images of each class, ``(c,)``.
        choice: From which epoch on, and the beta of the effective number.
        epochs: How many epochs there will be.

    Raises:
        ConfigError: The loss has class weights already, or cannot have any.

    Reference:
        Cao et al. 2019, Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss,
        algorithm 1.
    """

    def __init__(
        self,
        loss: TrainingLoss,
        class_counts: ClassCounts,
        *,
        choice: ReweightingRecipe,
        epochs: int,
    ) -> None:
        weighable = isinstance(loss, RIDELoss) or (
            isinstance(loss, Loss) and loss.class_weights is None
        )
        if not weighable:
            raise ConfigError(
                "Deferred re-weighting sets the class weights of the loss, and "
                f"{type(loss).__name__} has its own, or knows none. Set reweighting to null, or "
                "choose a loss without weights, such as cross_entropy, ldam or dbm."
            )
        assert isinstance(loss, Loss | RIDELoss)
        self._loss = loss
        self._first = choice.from_epoch or min(round(_USUAL_SHARE * epochs) + 1, epochs)
        self._weights = class_balanced_weights(class_counts, choice.beta).to(torch.float32)

    def start_epoch(self, epoch: int, device: torch.device) -> None:
        """Set the weights of an epoch, from 0, on the device of the network.

        Processes that train together exchange the buffers of a loss, and cannot do so elsewhere.
        """
        weighted = epoch + 1 >= self._first
        self._loss.reweight(self._weights.to(device) if weighted else None)
