"""The objective of mixed images: the loss of both labels, by their shares."""

from typing import Any

import torch
from torch import Tensor

from taxonet.models import Network, Output
from taxonet.recipes import MixingRecipe
from taxonet.seeds import generator
from taxonet.training.mixing import blend, kept_share, paste, random_box
from taxonet.training.objectives.base import Objective, StepOutput
from taxonet.training.tree_loss import TrainingLoss

#: BatchNorm cannot learn from one image.
_FEWEST = 2


class MixingObjective(Objective):
    """Mixup, CutMix, or CMO: images made of two, and a loss of both labels.

    ``L = share * loss(scores, y) + (1 - share) * loss(scores, y')``, which is the cross entropy
    with the mixed label where the loss is a cross entropy, and is defined for every loss.

    CMO pastes boxes of tail-dominated images (part 1 of the batch) onto the batch proper; the
    others mix the batch with itself in another order.

    Args:
        network: As for `Objective`, as is ``loss``.
        loss: See there.
        mixing: How, how much and how often.

    Reference:
        Park et al. 2022, The Majority Can Help The Minority (CMO), algorithm 1.
    """

    def __init__(
        self,
        network: Network,
        loss: TrainingLoss,
        *,
        mixing: MixingRecipe,
    ) -> None:
        super().__init__(network, loss)
        self.mixing = mixing

    def forward(
        self, images: Tensor, target: Tensor, part: Tensor, *, keep: int, key: tuple[Any, ...]
    ) -> StepOutput:
        """Compute the loss of a batch, mixed or as it is."""
        proper = part == 0
        pixels, labels = images[proper].float(), target[proper]
        rng = generator("mixing", *key)
        if rng.random() >= self.mixing.probability:
            output: Output = self.network(pixels)
            return StepOutput(self.score_loss(output, labels), len(labels), 0)
        partners, partner_labels = self._partners(images, target, part, key=key)
        if len(partners) < _FEWEST:  # the others could not be read
            unmixed: Output = self.network(pixels)
            return StepOutput(self.score_loss(unmixed, labels), len(labels), 0)
        # Broken photos can leave one of the two batches shorter.
        size = min(len(pixels), len(partners))
        pixels, labels, partner_labels = pixels[:size], labels[:size], partner_labels[:size]
        share = float(rng.beta(self.mixing.alpha, self.mixing.alpha))
        if self.mixing.name == "mixup":
            mixed = blend(pixels, partners[:size], share)
        else:
            height, width = pixels.shape[-2:]
            box = random_box(rng, height=height, width=width, share=share)
            share = kept_share(box, height=height, width=width)
            mixed = paste(pixels, partners[:size], box)
        output = self.network(mixed)
        first, second = self.score_loss(output, labels), self.score_loss(output, partner_labels)
        return StepOutput(share * first + (1 - share) * second, size, 0)

    def _partners(
        self, images: Tensor, target: Tensor, part: Tensor, *, key: tuple[Any, ...]
    ) -> tuple[Tensor, Tensor]:
        """Return what is mixed in, and its labels."""
        if self.mixing.name == "cmo":
            chosen = torch.nonzero(part == 1).flatten()
        else:
            proper = torch.nonzero(part == 0).flatten()
            order = generator("partners", *key).permutation(len(proper))
            chosen = proper[torch.from_numpy(order).to(proper.device)]
        return images[chosen].float(), target[chosen]
