"""Contrast in training: flat, or over the tree of the classes, where targets are class indices."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from taxonet.classifier.reading import Reading
from taxonet.losses import ContrastiveLoss
from taxonet.losses.hierarchical import HierarchicalSupConLoss
from taxonet.recipes import PartChoice
from taxonet.registry import CONTRASTIVE_LOSSES


class TreeContrast(nn.Module):
    """Called as the flat contrastive losses are, with class indices in the place of nodes.

    Args:
        loss: Made for the tree that the classes span.
        class_places: The node of that tree of each class, int64 ``(c,)``.

    Attributes:
        needs_centers: As for `ContrastiveLoss`.
    """

    needs_centers: ClassVar[bool] = False
    class_places: Tensor

    def __init__(self, loss: HierarchicalSupConLoss, class_places: Tensor) -> None:
        super().__init__()
        self.loss = loss
        self.register_buffer("class_places", class_places, persistent=False)

    def forward(self, class_centers: None, views: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar.

        Args:
            class_centers: None: a taxon is where its views are.
            views: ``(B, 2, D)`` of unit length.
            target: Class indices ``(B,)``.
        """
        value: Tensor = self.loss(views, self.class_places[target])
        return value


#: What two further views of each image are compared by; all are called with class indices.
TrainingContrast = ContrastiveLoss | TreeContrast


def build_contrast(
    choice: PartChoice, reading: Reading, class_counts: NDArray[np.int64]
) -> TrainingContrast:
    """Make a registered contrastive loss, on the tree of the classes if it needs one.

    Args:
        choice: Its name and options.
        reading: Knows the tree that the classes span, and where they are in it.
        class_counts: Training photos of each class, ``(c,)``.

    Raises:
        ConfigError: An unknown name, or options that the loss does not take.
    """
    if getattr(CONTRASTIVE_LOSSES.get(choice.name), "needs_tree", False):
        loss = CONTRASTIVE_LOSSES.build(choice.name, choice.options, reading.tree)
        return TreeContrast(loss, reading.class_places)
    flat: ContrastiveLoss = CONTRASTIVE_LOSSES.build(choice.name, choice.options, class_counts)
    return flat
