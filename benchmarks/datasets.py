"""The photo sets of the tables, prepared from the raw data by fixed, seeded rules.

Every function writes manifests into a work folder and returns where they are; photos stay where
they lie.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from taxonet.data import benchmarks, cut_to_profile, open_images
from taxonet.data.flora import FloraConfig, write_flora
from taxonet.data.table import ImageTable
from taxonet.demo import demo_flora
from taxonet.seeds import generator

_FLICKR_LABELS = {
    "daisy": "oxeye daisy",
    "dandelion": "common dandelion",
    "rose": "rose",
    "sunflower": "sunflower",
    "tulip": "unknown",
}


@dataclass(frozen=True)
class PreparedData:
    """What `taxonet train` and `taxonet evaluate` are given."""

    images: Path
    taxonomy: Path | None
    region: Path | None = None
    unknown: Path | None = None
    taxon_map: Path | None = None
    val_share: float = 0.1
    calibration_share: float = 0.1
    changes: tuple[str, ...] = ()
    """What the recipe of every row needs for these photos."""


Prepare = Callable[[Path, Path, int], PreparedData]


def flora(data: Path, work: Path, seed: int) -> PreparedData:
    """Draw the default procedural flora of this seed."""
    folder = work / "flora"
    write_flora(folder, FloraConfig(seed=seed))
    return PreparedData(
        images=folder / "images.csv",
        taxonomy=folder / "taxonomy.csv",
        region=folder / "region.csv",
        unknown=folder / "unknown.csv",
    )


def flowers102(data: Path, work: Path, seed: int) -> PreparedData:
    """Cut Flowers-102 to the IF 50 tail; calibrate on 2 test images a class, judge on the rest.

    Labels of which only the genus is sure become genus labels, at an inner node of the tree.
    """
    source = data / "flowers102"
    table = open_images(source / "splits.csv")
    profile = np.floor(200 * 50.0 ** (-np.arange(102) / 101) + 1e-9).astype(np.int64)
    cut = cut_to_profile(table, profile, seed=seed, minimum=4)
    _set_aside_calibration(cut, per_class=2, seed=seed).save(work / "images.csv")
    taxonomy = _genus_where_unsure(pd.read_csv(source / "taxonomy.csv", dtype=str))
    taxonomy.to_csv(work / "taxonomy.csv", index=False)
    meanings = pd.DataFrame(_FLICKR_LABELS.items(), columns=["label", "path"])
    meanings.to_csv(work / "flickr5_map.csv", index=False)
    return PreparedData(
        images=work / "images.csv",
        taxonomy=work / "taxonomy.csv",
        region=data / "flickr5" / "images",
        taxon_map=work / "flickr5_map.csv",
    )


def grocery(data: Path, work: Path, seed: int) -> PreparedData:
    """Take the source's own splits; calibrate on 3 test photos of each class, evaluate on the rest.

    Cartons, which are no plants, are the unknown taxa.
    """
    source = data / "grocery"
    table = open_images(source / "splits.csv")
    _set_aside_calibration(table, per_class=3, seed=seed).save(work / "images.csv")
    _genus_where_unsure(pd.read_csv(source / "taxonomy.csv", dtype=str)).to_csv(
        work / "taxonomy.csv", index=False
    )
    return PreparedData(
        images=work / "images.csv",
        taxonomy=work / "taxonomy.csv",
        unknown=source / "unknown_packages",
    )


def demo_photos(data: Path, work: Path, seed: int) -> PreparedData:
    """Draw the flora of the demonstration, of this seed."""
    folder = work / "flora"
    if not (folder / "images.csv").exists():
        write_flora(folder, demo_flora(seed))
    return PreparedData(
        images=folder / "images.csv",
        taxonomy=folder / "taxonomy.csv",
        region=folder / "region.csv",
        unknown=folder / "unknown.csv",
    )


def _genus_where_unsure(taxonomy: pd.DataFrame) -> pd.DataFrame:
    """Make a label of which only the genus is sure one of the genus, at an inner node."""
    unsure = taxonomy["certainty"] == "g"
    finer = [rank for rank in ("species", "cultivar") if rank in taxonomy]
    taxonomy.loc[unsure, finer] = None
    return taxonomy.drop(columns="certainty")


def cifar100_lt(data: Path, work: Path, seed: int) -> PreparedData:
    """CIFAR-100-LT of IF 100: all of its images train, and the last epoch is kept."""
    images = work / "images.parquet"
    if not images.exists():
        benchmarks.cifar100_lt(data, imbalance=100).images.save(images)
    return PreparedData(images, taxonomy=None, val_share=0.0, calibration_share=0.0)


def cifar10_lt(data: Path, work: Path, seed: int) -> PreparedData:
    """CIFAR-10-LT of IF 100, each seed another draw; all images train, the last epoch is kept."""
    images = work / "images.parquet"
    if not images.exists():
        benchmarks.cifar10_lt(data, imbalance=100, seed=seed).images.save(images)
    return PreparedData(images, taxonomy=None, val_share=0.0, calibration_share=0.0)


def leaves(data: Path, work: Path, seed: int) -> PreparedData:
    """Split the leaves 5 / 1 / 2 a species for train, val and test; none is left to calibrate."""
    table = open_images(data / "leaves" / "images")
    order = generator("leaves", seed).permutation(len(table))
    place = pd.Series(order).groupby(table.frame["taxon"].to_numpy()).rank().to_numpy()
    split = np.where(place <= 5, "train", np.where(place <= 6, "val", "test"))
    table.with_columns(split=split.tolist()).save(work / "images.csv")
    return PreparedData(
        images=work / "images.csv",
        taxonomy=data / "leaves" / "taxonomy.csv",
        calibration_share=0.0,
    )


def _set_aside_calibration(table: ImageTable, *, per_class: int, seed: int) -> ImageTable:
    split = table.frame["split"].to_numpy(dtype=object, copy=True)
    test = np.flatnonzero(split == "test")
    shuffled = generator("calibration", seed).permutation(test)
    place = table.frame.iloc[shuffled].groupby("taxon").cumcount().to_numpy()
    split[shuffled[place < per_class]] = "calibration"
    return table.with_columns(split=split.tolist())
