"""Photos for the study of unknown taxa: what trains, and what no classifier of the study knows."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from benchmarks import datasets
from benchmarks.datasets import PreparedData
from taxonet.data import open_images
from taxonet.data.table import SPLITS, ImageTable
from taxonet.seeds import generator

#: The rank at which a kind of taxon is new, finest first, and the rank above, which stays known.
KINDS = {"species": "genus", "genus": "family", "family": "order"}
ALL = "all"  # of them together
_KIND_OF_FLORA = {"known genus": "species", "unknown genus": "genus"}


@dataclass(frozen=True)
class OpenSetData:
    """What is trained on, and photos of unknown taxa by the rank at which they are new."""

    known: PreparedData
    unknown: dict[str, ImageTable]


PrepareOpenSet = Callable[[Path, Path, int], OpenSetData]


def flora(data: Path, work: Path, seed: int) -> OpenSetData:
    """Draw the default flora of this seed, which comes with unknown species and genera."""
    return _of_flora(datasets.flora(data, work, seed))


def flowers102(data: Path, work: Path, seed: int) -> OpenSetData:
    """Take a species, a genus and a family out of the tail-cut Flowers-102 and its taxonomy.

    Their photos, all that the set has and not only those of its test split, are the unknown ones.
    """
    known = datasets.flowers102(data, work, seed)
    assert known.taxonomy is not None
    taxa = pd.read_csv(known.taxonomy, dtype=str)
    held_out = choose_held_out(taxa, seed=seed)
    gone = {label for labels in held_out.values() for label in labels}
    images, taxonomy = work / "known.csv", work / "known_taxonomy.csv"
    cut = open_images(known.images)
    cut.rows(~cut.frame["taxon"].isin(gone)).save(images)
    taxa[~taxa["label"].isin(gone)].to_csv(taxonomy, index=False)
    whole = open_images(data / "flowers102" / "splits.csv")
    unknown = {
        kind: whole.rows(whole.frame["taxon"].isin(labels)) for kind, labels in held_out.items()
    }
    return OpenSetData(replace(known, images=images, taxonomy=taxonomy), unknown)


def tulips(data: Path, work: Path, seed: int) -> OpenSetData:
    """Train on the tail-cut Flowers-102; tulips, of another collection, are no label of it."""
    known = datasets.flowers102(data, work, seed)
    photos = open_images(data / "flickr5" / "images")
    is_tulip = photos.frame["taxon"] == "tulip"
    return OpenSetData(known, {"tulips": photos.rows(is_tulip)})


def grocery(data: Path, work: Path, seed: int) -> OpenSetData:
    """Train on the grocery photos; cartons, which are no plants, are unknown."""
    known = datasets.grocery(data, work, seed)
    assert known.unknown is not None
    images = open_images(known.images)
    photos = work / "known.csv"
    images.rows(images.frame["split"].isin(SPLITS)).save(photos)
    return OpenSetData(replace(known, images=photos), {"cartons": open_images(known.unknown)})


def demo_photos(data: Path, work: Path, seed: int) -> OpenSetData:
    """Draw the flora of the demonstration, with unknown species and genera."""
    return _of_flora(datasets.demo_photos(data, work, seed))


def _of_flora(known: PreparedData) -> OpenSetData:
    assert known.unknown is not None
    table = open_images(known.unknown)
    kind = table.frame["novelty"].map(_KIND_OF_FLORA)
    return OpenSetData(known, {name: table.rows(kind == name) for name in kind.unique()})


def choose_held_out(taxa: pd.DataFrame, *, seed: int) -> dict[str, list[str]]:
    """Choose the labels of one species, one genus and one family, each of another family.

    A taxon can be chosen if the one above it keeps another of its rank: a species of a genus with
    several, a genus of a family with several, a family of an order with several.

    Args:
        taxa: The columns ``label``, ``species``, ``genus``, ``family``, ``order``; a species may
            be missing.
        seed: Chooses among the candidates, in the order of their names.

    Returns:
        The labels of the chosen taxon by its rank.
    """
    left, chosen = taxa, {}
    for rank, above in KINDS.items():
        members = left.groupby(above)[rank].nunique()
        candidates = sorted(
            left.loc[left[above].isin(members.index[members > 1]), rank].dropna().unique()
        )
        taxon = candidates[generator("hold out", rank, seed).integers(len(candidates))]
        is_chosen = left[rank] == taxon
        chosen[rank] = sorted(left.loc[is_chosen, "label"])
        left = left[~left["family"].isin(left.loc[is_chosen, "family"])]
    return chosen
