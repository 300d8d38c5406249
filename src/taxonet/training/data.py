"""From photos and a taxonomy to what training needs: splits, classes, a node for every photo."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from taxonet.data.classes import ClassIndex
from taxonet.data.splitting import complete_splits, split_images
from taxonet.data.table import UNKNOWN_SPLIT, ImageTable
from taxonet.errors import DataError
from taxonet.recipes.verbs import TaxonomySource
from taxonet.taxonomy import Taxonomy


@dataclass(frozen=True)
class TrainingData:
    """Photos with their splits, and the classes that the training split makes."""

    table: ImageTable
    taxonomy: Taxonomy
    nodes: NDArray[np.int64]
    """Taxonomy node of each photo, ``(N,)``; -1 in the split ``unknown``, which nobody learns."""
    classes: ClassIndex

    def split(self, name: str) -> tuple[ImageTable, Tensor]:
        """Return the photos of a split whose taxon is a class, and their class indices."""
        targets = self.classes.targets(self.nodes)
        chosen = (self.table.frame["split"].to_numpy() == name) & (targets >= 0)
        return self.table.rows(chosen), torch.from_numpy(targets[chosen])

    def outside(self) -> dict[str, int]:
        """Count, for each split, the photos whose taxon has no training photo.

        Those of the split ``unknown`` are meant to be so, and are left out.
        """
        split = self.table.frame["split"]
        lost = split[(self.classes.targets(self.nodes) < 0) & (split != UNKNOWN_SPLIT).to_numpy()]
        return {str(name): int(count) for name, count in lost.value_counts().items()}

    def digest(self) -> str:
        """Return a hash over the names and taxa of what is trained on and chosen by."""
        digest = sha256(self.taxonomy.digest.encode())
        for name in ("train", "val"):
            table, targets = self.split(name)
            photos = list(zip(table.frame["image"], targets.tolist(), strict=True))
            digest.update(repr((name, photos)).encode())
        return digest.hexdigest()


def open_training_data(
    images: ImageTable,
    taxonomy: Taxonomy,
    *,
    seed: int,
    val_share: float = 0.1,
    calibration_share: float = 0.1,
) -> TrainingData:
    """Give every photo a node and a split.

    Photos that come with splits keep them; what is missing of val and calibration is taken from
    train. Photos without splits are divided. Those of the split ``unknown`` need no label that the
    taxonomy knows.

    Args:
        images: Labelled photos.
        taxonomy: Where their labels are names.
        seed: Key of what is divided.
        val_share: Share of train that a missing validation split takes; 0 takes none.
        calibration_share: Likewise for the calibration split.

    Raises:
        TaxonomyError: Labels that no name of the taxonomy matches, with near misses.
        DataError: No training photos, or photos without a label.
    """
    # What is asked of photos is not asked of those that no part of training sees.
    unlabelled = images.frame["taxon"].isna() & ~_is_unknown(images)
    if unlabelled.any():
        first = images.frame["image"][unlabelled].iloc[0]
        raise DataError(
            f"{int(unlabelled.sum())} photos have no label (first: {first}). Label them, or take "
            "them out of the manifest and name them with `taxonet predict`."
        )
    shares = {"val": val_share, "calibration": calibration_share}
    table = _with_splits(images, shares, seed=seed)
    wanted = ~_is_unknown(table).to_numpy()
    nodes = np.full(len(table), -1, dtype=np.int64)
    nodes[wanted] = taxonomy.resolve(table.frame["taxon"][wanted].tolist())
    train = (table.frame["split"] == "train").to_numpy()
    if not train.any():
        raise DataError("No photo is in the split `train`: there is nothing to learn from.")
    return TrainingData(table, taxonomy, nodes, ClassIndex.from_nodes(nodes[train]))


def _with_splits(images: ImageTable, shares: Mapping[str, float], *, seed: int) -> ImageTable:
    if "split" not in images.frame:
        return split_images(images, seed=seed)
    missing = {split: share for split, share in shares.items() if share > 0}
    return complete_splits(images, fractions=missing, seed=seed)


def _is_unknown(images: ImageTable) -> "pd.Series[bool]":
    if "split" not in images.frame:
        return pd.Series(False, index=images.frame.index)
    return images.frame["split"] == UNKNOWN_SPLIT


def open_taxonomy(source: TaxonomySource, images: ImageTable) -> Taxonomy:
    """Read the taxonomy of a config, or make a flat one from the photos' labels."""
    if source.taxonomy is None:
        return flat_taxonomy(images)
    return Taxonomy.from_file(
        source.taxonomy, ranks=source.ranks or None, label=source.label_column
    )


def flat_taxonomy(images: ImageTable) -> Taxonomy:
    """Make a taxonomy of one level from the photos' labels."""
    labels = sorted(set(images.frame["taxon"].dropna()))
    return Taxonomy.from_table(pd.DataFrame({"taxon": labels}), ranks=["taxon"])
