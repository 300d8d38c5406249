"""The objective of SMART on stored features: tail embeddings borrow the spread of head classes."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from taxonet.models import Network, Output
from taxonet.recipes import TransferRecipe
from taxonet.training.covariance import (
    EmbeddingCovariances,
    describe_embeddings,
    transfer_embeddings,
)
from taxonet.training.objectives.tail_transfer import TailTransferObjective
from taxonet.training.tree_loss import TrainingLoss


class EmbeddingTransferObjective(TailTransferObjective):
    """SMART where the inputs are embeddings: nothing runs along, and every image weighs 1.

    The embeddings change before the network sees them, so before its neck where it has one.

    Args:
        network: Neck and head, as for `TailTransferObjective`, as are all others.
        loss: See there.
        recipe: See there.
        covariances: Of the classes, from the stored training features under the plain view.
        tail_classes: See there.
        head_classes: See there.
        similarity: See there.
    """

    def __init__(
        self,
        network: Network,
        loss: TrainingLoss,
        *,
        recipe: TransferRecipe,
        covariances: EmbeddingCovariances,
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
        self.covariances = covariances
        classes, size, columns = covariances.directions.shape
        self.notes = (describe_embeddings(classes, size, columns=columns),)
        alone = int((covariances.images[tail_classes] < 2).sum())
        if alone:
            self.notes += (
                f"{alone} of {len(tail_classes)} tail classes have one photo, which has no "
                "deviation to change: they borrow nothing.",
            )

    def transferred(
        self, images: Tensor, target: Tensor, heads: Tensor
    ) -> tuple[Output, Tensor | None]:
        """Return what the network makes of embeddings ``(B, d)``, those of tail images changed."""
        changed = transfer_embeddings(images, target, heads, self.covariances)
        output: Output = self.network(changed)
        return output, None
