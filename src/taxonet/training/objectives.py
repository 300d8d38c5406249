"""What one training step computes, as a module, so that data parallelism wraps it whole."""

from typing import Any, NamedTuple

from torch import Tensor, nn

from taxonet.data.transforms import normalise
from taxonet.models import Network
from taxonet.recipes import SelectionRecipe
from taxonet.training.selection import lowest_norms, random_keep


class StepOutput(NamedTuple):
    """What a step hands back to the loop."""

    loss: Tensor
    """Scalar that carries the gradient."""
    images: int
    """Images that entered the loss."""
    tail_kept: int
    """Added tail images among them."""


class ClassificationObjective(nn.Module):
    """Images to one loss, with tail images selected where a recipe asks for it.

    Args:
        network: Backbone and head.
        loss: A registered loss; its parameters train beside the network's.
        mean: Colour mean of the backbone's preprocessing, 0 to 1, three channels.
        std: Colour spread likewise.
        selection: The rule that keeps a batch's worth of an extended batch, or None.
    """

    def __init__(
        self,
        network: Network,
        loss: nn.Module,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        selection: SelectionRecipe | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.mean, self.std = mean, std
        self.selection = selection

    def forward(
        self, images: Tensor, target: Tensor, tail: Tensor, *, keep: int, key: tuple[Any, ...]
    ) -> StepOutput:
        """Compute the loss of a batch.

        Args:
            images: uint8 ``(B, 3, S, S)``; more than ``keep`` where the batch was extended.
            target: Class indices ``(B,)``.
            tail: True where an image was added from a tail class, ``(B,)``.
            keep: Images that may enter the loss.
            key: Key of the step's randomness, used by random selection.
        """
        output = self.network(normalise(images, self.mean, self.std))
        scores = output.scores
        if self.selection is not None and len(images) > keep:
            if self.selection.keep == "lowest_norm":
                chosen = lowest_norms(output.embedding, keep)
            else:
                chosen = random_keep(len(images), keep, *key).to(images.device)
            scores, target, tail = scores[chosen], target[chosen], tail[chosen]
        return StepOutput(self.loss(scores, target), len(target), int(tail.sum()))
