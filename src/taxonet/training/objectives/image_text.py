"""The objective of image-text contrast: both towers learn, images and the names of their taxa."""

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from taxonet.losses.hierarchical import NameContrastLoss
from taxonet.models import LevelCosineHead, Network, Towers, save_towers
from taxonet.models.clip import ImageTower
from taxonet.models.heads import directions
from taxonet.seeds import generator
from taxonet.training.gathering import gather_rows
from taxonet.training.gradient_cache import check_rows_are_apart, encode_in_chunks
from taxonet.training.objectives.base import Objective, StepOutput
from taxonet.training.taxon_names import TaxonNames
from taxonet.training.tree_loss import TreeLoss

TOWERS = "towers"
"""Folder of a run where its towers lie, as open_clip reads them."""


class ImageTextObjective(Objective):
    """HMCF: at each level, every image of the batch against the names of the taxa of all.

    The batch is that of all processes together. Scores are those of the head, of the batch's taxa
    alone and by the names as the text tower reads them at this step. The vectors of the head are
    those of the names as the tower last read them all: after each epoch, before anybody looks at
    the scores. A frozen tower read them once, before the first.

    Args:
        network: As for `Objective`; its head is a `LevelCosineHead`
            that starts at the vectors of the names.
        loss: A `NameContrastLoss` on the tree that the classes span.
        names: Of the nodes of that tree, and the tower that reads them, frozen or not.
        chunk: Images, and names, in a tower at a time; None: all.
        accelerator: Of the run.

    Raises:
        ConfigError: A tower that normalises by the statistics of a batch, and ``chunk``.

    Reference:
        Hierarchical Classification via Diffusion on Manifolds, section 3.3.
    """

    def __init__(
        self,
        network: Network,
        loss: TreeLoss,
        *,
        names: TaxonNames,
        chunk: int | None,
        accelerator: Accelerator,
    ) -> None:
        super().__init__(network, loss)
        assert isinstance(loss.loss, NameContrastLoss)  # the choice has seen to it
        self._levels: NameContrastLoss = loss.loss
        self.tower, self._names, self._chunk = names.tower, names, chunk
        self._learns_names = any(weights.requires_grad for weights in names.tower.parameters())
        # No buffer: data-parallel processes would send all of it to one another at every step.
        self._tokens = names.tokens() if self._learns_names else None
        self._accelerator = accelerator
        self._head.weight.requires_grad_(False)
        if chunk is not None:
            for tower in (network.backbone, names.tower):
                check_rows_are_apart(tower)

    @property
    def kept(self) -> nn.Module:
        """Both towers: names that were read by another epoch's tower would not fit."""
        return nn.ModuleDict({"network": self.network, "tower": self.tower})

    @property
    def _head(self) -> LevelCosineHead:
        head = self.network.head
        assert isinstance(head, LevelCosineHead)  # the choice has seen to it
        return head

    def forward(
        self, images: Tensor, target: Tensor, part: Tensor, *, keep: int, key: tuple[Any, ...]
    ) -> StepOutput:
        """Compute the loss of the batch of all processes."""
        pixels = self.network.normalise(images)
        embedding = self._encode(self.network.backbone, pixels)
        labels = self._levels.labels(self.class_places[target])
        # Every name is read once, however many images have it.
        nodes = torch.unique(labels.clamp_min(0))
        vectors, nodes = gather_rows(self._accelerator, self._vectors_of(nodes, key), nodes)
        *seen, labels = gather_rows(self._accelerator, *self._head.features(embedding), labels)
        scores = self._head.compare(seen, vectors, nodes)
        loss = self._levels.contrast(scores, labels, _places(labels, nodes)).mean()
        return StepOutput(loss, len(images), 0)

    @property
    def class_places(self) -> Tensor:
        """The node of each class in the tree that they span, ``(c,)``."""
        assert isinstance(self.loss, TreeLoss)
        return self.loss.class_places

    def end_epoch(self) -> None:
        """Read all names anew, for whoever looks at the scores now."""
        if self._learns_names:
            self._head.vectors = self._names.vectors()

    def export(self, folder: Path) -> None:
        """Write both towers as a folder that open_clip can read."""
        image = self.network.backbone
        assert isinstance(image, ImageTower)  # the choice has seen to it
        scale = self._head.scales()[-1].item()
        save_towers(Towers(image, self.tower), folder / TOWERS, logit_scale=scale)

    def _vectors_of(self, nodes: Tensor, key: tuple[Any, ...]) -> Tensor:
        """Return the unit vectors of the names of nodes ``(m, d)``.

        The template is the same for all processes of a step, whose number ends its key.
        """
        if self._tokens is None:
            return directions(self._head.vectors[nodes])
        template = int(generator("template", *key[:-1]).integers(self._tokens.shape[1]))
        tokens = self._tokens[nodes.cpu(), template].to(nodes.device, torch.int64)
        return directions(self._encode(self.tower, tokens))

    def _encode(self, encoder: nn.Module, inputs: Tensor) -> Tensor:
        if self._chunk is None:
            found: Tensor = encoder(inputs)
            return found
        return encode_in_chunks(encoder, inputs, chunk=self._chunk)


def _places(labels: Tensor, nodes: Tensor) -> Tensor:
    """Return where each label first comes among the nodes; any place for -1.

    Examples:
        >>> _places(torch.tensor([[2, 5], [9, -1]]), torch.tensor([2, 9, 0, 5, 9])).tolist()
        [[0, 3], [1, 2]]
    """
    ascending, order = nodes.sort(stable=True)
    return order[torch.searchsorted(ascending, labels)]
