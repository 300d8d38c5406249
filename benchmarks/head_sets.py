"""The photo sets of the tables as stored features: embedded once, for every row and seed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.datasets import Prepare, demo_photos, flowers102, grocery, leaves
from benchmarks.head_rows import Features, Labels
from taxonet.classifier import Embedder, preprocessing_of
from taxonet.classifier.model_input import with_input_of_weights
from taxonet.data import open_images
from taxonet.data.table import ImageTable
from taxonet.models import build_network
from taxonet.recipes import load_recipe
from taxonet.taxonomy import Taxonomy
from taxonet.training.photos import named_photos

#: The sets by name, with how their photos are prepared and what the recipe of every row needs.
SETS: Mapping[str, tuple[Prepare, tuple[str, ...]]] = {
    "flowers102": (flowers102, ()),
    "grocery": (grocery, ()),
    "leaves": (leaves, ("model.fit=pad",)),
    "flora": (demo_photos, ()),
}

_SPLITS = ("train", "val", "calibration", "test")  # leaves have none to calibrate on
_PHOTOS_AT_ONCE = 8  # of a pass; more are slower on a processor, whose caches they leave


@dataclass(frozen=True)
class SetOfFeatures:
    """The photos of one set and seed: features and labels of each split, and their tree."""

    splits: Mapping[str, tuple[Features, Labels]]
    taxonomy: Taxonomy


def embedder_for(changes: tuple[str, ...], folder: Path) -> Embedder:
    """Return what embeds photos as ``quick`` does, into a folder."""
    model = with_input_of_weights(load_recipe("quick", changes).model)
    network = build_network(
        backbone=model.backbone, head="linear", classes=2, seed=0, weights=model.weights
    )
    preprocessing = preprocessing_of(model, network)
    device = torch.device("cpu")
    return Embedder.open(folder, network, preprocessing, model=model, device=device)


def features_of(name: str, *, data: Path, work: Path, seed: int) -> SetOfFeatures:
    """Prepare a set by its seed, embed what the store lacks, and return it."""
    prepare, changes = SETS[name]
    folder = work / f"{name}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    prepared = prepare(data, folder, seed)
    assert prepared.taxonomy is not None
    table = open_images(prepared.images)
    embedder = embedder_for(changes, work / f"features-{name}")
    present = set(table.frame["split"])
    splits = {
        split: _embedded(embedder, table.split(split)) for split in _SPLITS if split in present
    }
    return SetOfFeatures(splits, Taxonomy.from_file(prepared.taxonomy))


def _embedded(embedder: Embedder, table: ImageTable) -> tuple[Features, Labels]:
    stored = embedder.add(list(named_photos(table)), batch_size=_PHOTOS_AT_ONCE, shown=True)
    labels = np.asarray(table.frame["taxon"], dtype=str)
    usable = [place for place, digest in enumerate(stored.digests) if digest]
    return embedder.features(stored).numpy(), labels[usable]
