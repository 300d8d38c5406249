"""The objective of image-text contrast: both towers learn, images and the names of their taxa."""

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from taxonet.data.transforms import normalise
from taxonet.losses import HierarchicalImageTextLoss
from taxonet.losses.hierarchical import NameContrastLoss
from taxonet.models import LevelCosineHead, Network, Towers, save_towers
from taxonet.models.clip import ImageTower
from taxonet.models.heads import directions
from taxonet.seeds import generator
from taxonet.training.gathering import gather_rows
from taxonet.training.gradient_cache import encode_in_chunks
from taxonet.training.objectives.base import Objective, StepOutput
from taxonet.training.taxon_names import TaxonNames
from taxonet.training.tree_loss import TreeLoss

TOWERS = "towers"
"""Folder of a run where its towers lie, as open_clip reads them."""


class ImageTextObjective(Objective):
    """HMCF: at each level, every image of the batch against the names of the taxa of all.

    The batch is that of all processes together. The vectors of the head are those of the names as
    the text tower last read them: after each epoch, and before anybody looks at the scores.

    Args:
        network: As for `Objective`, as are ``mean`` and ``std``; its head is a `LevelCosineHead`.
        loss: A `NameContrastLoss` on the tree that the classes span.
        mean: See there.
        std: See there.
        names: Of the nodes of that tree, and the tower that reads them.
        chunk: Images, and names, in a tower at a time; None: all.
        accelerator: Of the run.

    Reference:
        Hierarchical Classification via Diffusion on Manifolds, section 3.3.
    """

    def __init__(
        self,
        network: Network,
        loss: TreeLoss,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        names: TaxonNames,
        chunk: int | None,
        accelerator: Accelerator,
    ) -> None:
        super().__init__(network, loss, mean=mean, std=std)
        assert isinstance(loss.loss, NameContrastLoss)  # the choice has seen to it
        self._levels: NameContrastLoss = loss.loss
        self.tower, self._names, self._chunk = names.tower, names, chunk
        self.register_buffer("_tokens", names.tokens, persistent=False)
        self._contrast = HierarchicalImageTextLoss(
            self._levels.weights, duplicates=self._levels.duplicates
        )
        self._accelerator = accelerator
        self._head.weight.requires_grad_(False)

    @property
    def kept(self) -> nn.Module:
        """Both towers: names that were read by another epoch's tower would not fit."""
        return nn.ModuleDict({"network": self.network, "tower": self.tower})

    @property
    def _head(self) -> LevelCosineHead:
        head = self.network.head
        assert isinstance(head, LevelCosineHead)  # the choice has seen to it
        return head

    def loss_parameters(self) -> list[nn.Parameter]:
        """Return the scales, which no decay should pull down."""
        return [*super().loss_parameters(), self._head.log_scales]

    def forward(
        self, images: Tensor, target: Tensor, part: Tensor, *, keep: int, key: tuple[Any, ...]
    ) -> StepOutput:
        """Compute the loss of the batch of all processes."""
        pixels = normalise(images, self.mean, self.std)
        embedding = self._encode(self.network.backbone, pixels)
        labels = self._levels.labels(self.class_places[target])
        rows = gather_rows(
            self._accelerator,
            *self._head.features(embedding),
            *self._features_of_names(labels, key),
            labels,
        )
        levels = len(self._head.levels)
        seen, read, every = rows[:levels], rows[levels : 2 * levels], rows[-1]
        loss: Tensor = self._contrast(seen, read, every, self._head.scales())
        return StepOutput(loss, len(images), 0)

    @property
    def class_places(self) -> Tensor:
        """The node of each class in the tree that they span, ``(c,)``."""
        assert isinstance(self.loss, TreeLoss)
        return self.loss.class_places

    def end_epoch(self) -> None:
        """Read all names anew, for whoever looks at the scores now."""
        self._head.vectors = self._names.vectors()

    def export(self, folder: Path) -> None:
        """Write both towers as a folder that open_clip can read."""
        image = self.network.backbone
        assert isinstance(image, ImageTower)  # the choice has seen to it
        scale = self._head.scales()[-1].item()
        save_towers(Towers(image, self.tower), folder / TOWERS, logit_scale=scale)

    def _features_of_names(self, labels: Tensor, key: tuple[Any, ...]) -> list[Tensor]:
        """Return the unit vector of each image's taxon at each level ``(B, d)``.

        Every name is read once, however many images have it. The template is the same for all
        processes of a step.
        """
        nodes, place = torch.unique(labels.clamp_min(0), return_inverse=True)
        if any(parameter.requires_grad for parameter in self.tower.parameters()):
            tokens: Tensor = self._tokens  # type: ignore[assignment] # the buffer
            template = int(generator("template", *key[:-1]).integers(tokens.shape[1]))
            vectors = directions(self._encode(self.tower, tokens[nodes, template]))
        else:
            vectors = self._head.vectors[nodes]
        return [vectors[of_level] for of_level in place.T]

    def _encode(self, encoder: nn.Module, inputs: Tensor) -> Tensor:
        if self._chunk is None:
            found: Tensor = encoder(inputs)
            return found
        return encode_in_chunks(encoder, inputs, chunk=self._chunk)
