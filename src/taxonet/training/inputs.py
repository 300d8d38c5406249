"""What a run draws from: photos, or the features that a frozen backbone gave them once."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from taxonet.classifier import Embedder, StoredPhotos
from taxonet.data.features import StoredBatches, view_key
from taxonet.data.loading import BatchSource, ImageDataset
from taxonet.data.table import ImageTable
from taxonet.data.transforms import Transform
from taxonet.models import Network
from taxonet.recipes import PartChoice, Recipe
from taxonet.training.data import TrainingData
from taxonet.training.photos import named_photos
from taxonet.training.second_stage import CachedEmbeddings
from taxonet.training.views import TAIL, training_views, transform_of


@dataclass(frozen=True)
class Inputs:
    """What a run trains, and what it draws from.

    Attributes:
        network: What is trained: the whole network, or its neck and head on stored features.
        train: The training images of each draw.
        val: The validation images under the plain view; None where there are none.
        stored: The features of the usable training photos under the plain view, and their classes;
            None where photos are read.
    """

    network: Network
    train: BatchSource
    val: BatchSource | None
    stored: CachedEmbeddings | None = None


def photo_inputs(
    recipe: Recipe, data: TrainingData, network: Network, *, device: torch.device
) -> Inputs:
    """Read, decode and transform the photos of every batch, for a network on a device."""
    views = training_views(recipe)
    source = partial(
        ImageDataset,
        views=views,
        pin_memory=device.type == "cuda",
    )
    (train, _), (val, _) = data.split("train"), data.split("val")
    return Inputs(network, source(train, seed=recipe.seed), source(val) if len(val) else None)


class StoredSplit:
    """The photos of a split whose features a store holds, in one view or several.

    Args:
        table: The photos.
        embedder: What embeds them; photos that its store lacks are added.
        workers: Reading processes.
        shown: Say how long it will take, and show progress.
    """

    def __init__(
        self, table: ImageTable, embedder: Embedder, *, workers: int = 0, shown: bool = False
    ) -> None:
        self.table, self.embedder = table, embedder
        self._add = partial(embedder.add, workers=workers, shown=shown)
        self.photos: StoredPhotos = self._add(list(named_photos(table)))
        self.usable = np.array([place for place, one in enumerate(self.photos.digests) if one], int)

    def features(self) -> Tensor:
        """Return the features ``(G, f)`` of the usable photos, as prediction sees them."""
        return self.embedder.features(self.photos)

    def view(
        self, key: str, transform: Transform, rows: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """Return another view's features ``(N, f)``, of some rows or all.

        Photos without that view have their plain features: those of other rows, and those of which
        only features are at hand.

        Args:
            key: Of the view in the store.
            transform: Its transform, for photos that the store lacks it of.
            rows: Positions of the photos; None: of all that are usable.
        """
        rows = self.usable if rows is None else np.intersect1d(rows, self.usable)
        photos = list(named_photos(self.table.rows(rows)))
        found = self._add(photos, view=key, transform=transform)
        seen = rows[[place for place, digest in enumerate(found.digests) if digest]]
        features = self.plain()
        features[seen] = self.embedder.features(found, view=key).numpy()
        return features

    def plain(self) -> NDArray[np.float32]:
        """Return the features ``(N, f)`` as prediction sees them; zeros for unusable photos."""
        return self._spread(self.usable, self.features())

    def source(
        self,
        views: Sequence[NDArray[np.float32]],
        *,
        tail_views: Sequence[NDArray[np.float32]] = (),
        seed: int = 0,
    ) -> StoredBatches:
        """Return what gives the features of a list of draws."""
        names = [str(name) for name in self.table.frame["image"]]
        return StoredBatches(
            names, views, tail_views=tail_views, broken=self.photos.broken, seed=seed
        )

    def embeddings(self, network: Network, targets: Tensor) -> CachedEmbeddings:
        """Return the embeddings of the usable photos under a network's neck, and their classes.

        Args:
            network: Its neck counts.
            targets: Class index of every photo of the split, ``(N,)``.
        """
        features = self.features().to(next(network.head.parameters()).device)
        with torch.no_grad():
            found = network.neck(features).cpu()
        return CachedEmbeddings(found, targets[torch.from_numpy(self.usable)])

    def reasons(self) -> dict[str, str]:
        """Return the reason of each photo that cannot be used, by name."""
        return {self.table.name(row): reason for row, reason in self.photos.broken.items()}

    def _spread(self, rows: NDArray[np.int64], features: Tensor) -> NDArray[np.float32]:
        found = np.zeros((len(self.table), features.shape[1]), dtype=np.float32)
        found[rows] = features.numpy()
        return found


def stored_inputs(
    recipe: Recipe,
    data: TrainingData,
    embedder: Embedder,
    *,
    workers: int = 0,
    shown: bool = False,
) -> tuple[Inputs, StoredSplit]:
    """Embed the photos that the store lacks, and return what training draws from.

    Training photos get the views that the recipe asks for: through its ``augment``, and through
    AugMix where they may be tail candidates of a selection.

    Returns:
        The inputs, and the training split for whoever fits another head to it.
    """
    assert recipe.features is not None  # the caller has seen to it
    (table, targets), (val_table, _) = data.split("train"), data.split("val")
    train = StoredSplit(table, embedder, workers=workers, shown=shown)
    views, tail_views = [train.plain()], []
    for number in range(1, recipe.features.views):
        views.append(train.view(*_view(recipe, recipe.augment, number)))
        if recipe.selection is not None:
            tail = data.classes.class_counts[targets.numpy()] < recipe.selection.tail_shots
            tail_views.append(train.view(*_view(recipe, TAIL, number), np.flatnonzero(tail)))
    source = train.source(views, tail_views=tail_views, seed=recipe.seed)
    val = None
    if len(val_table):
        split = StoredSplit(val_table, embedder, workers=workers, shown=shown)
        val = split.source([split.plain()])
    usable = torch.from_numpy(train.usable)
    plain = torch.from_numpy(views[0])
    if len(usable) < len(plain):  # or it is as it should be, and need not be copied
        plain, targets = plain[usable], targets[usable]
    stored = CachedEmbeddings(plain, targets)
    return Inputs(embedder.network.on_features(), source, val, stored), train


def _view(recipe: Recipe, choice: PartChoice, number: int) -> tuple[str, Transform]:
    """Return the key of an augmented view, and its transform."""
    return view_key(repr(choice), recipe.seed, number), transform_of(recipe, choice)
