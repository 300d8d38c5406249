"""The photos that are asked about, their true taxa, and how common these are in training."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from taxonet.data.matching import match_photos
from taxonet.data.sources import open_images
from taxonet.data.table import ImageTable
from taxonet.errors import ConfigError, DataError
from taxonet.taxonomy import Taxonomy, match_labels

IntArray = NDArray[np.int64]

LEVELS = ("genus", "species")
"""The ranks that are asked for, coarse to fine."""


@dataclass(frozen=True)
class JudgedPhotos:
    """Photos whose taxon is known, at the genus at least.

    Args:
        table: The photos.
        truth: For each rank of `LEVELS` the node of each photo, ``(N,)``; -1 where the label does
            not reach down to it.
        facts: How many photos and taxa matched, and how many did not.
    """

    table: ImageTable
    truth: dict[str, IntArray]
    facts: dict[str, int]


def require_levels(taxonomy: Taxonomy) -> None:
    """Refuse a tree without genera and species.

    Raises:
        ConfigError: It lacks one of the ranks.
    """
    missing = [rank for rank in LEVELS if rank not in taxonomy.ranks]
    if missing:
        raise ConfigError(
            f"The taxonomy has no rank {' and '.join(missing)} (ranks: "
            f"{', '.join(taxonomy.ranks) or 'none'}), and chat models are asked for genus and "
            "species: give a --taxonomy with these columns."
        )


def photos_to_judge(
    path: Path, taxonomy: Taxonomy, *, split: str, known: IntArray | None
) -> JudgedPhotos:
    """Open labelled photos and find their true taxa.

    Args:
        path: The photos; with splits, those of ``split`` are taken.
        taxonomy: The tree.
        split: A split.
        known: Nodes of the taxa that a classifier has as classes or would have, ``(c,)``. Photos of
            others are left out, as `evaluate` leaves them out. None takes all.

    Raises:
        DataError: The photos cannot be opened, or none is left.
    """
    table = open_images(path)
    if table.split_counts():
        table = table.split(split)
    photos = match_photos(table, taxonomy, np.arange(1, len(taxonomy)) if known is None else known)
    truth = {rank: taxonomy.ancestor_at_rank(photos.nodes, rank) for rank in LEVELS}
    judged = truth["genus"] >= 0
    if not judged.any():
        raise DataError(
            f"{path}: of {len(table)} photos none has a genus of the taxonomy"
            + ("" if known is None else " and a taxon that is a class or has training photos")
            + ". `taxonet data inspect` shows which labels match what."
        )
    return JudgedPhotos(
        photos.known.rows(judged),
        {rank: nodes[judged] for rank, nodes in truth.items()},
        {**photos.facts, "above_genus": int((~judged).sum())},
    )


def counts_of_photos(path: Path, taxonomy: Taxonomy) -> IntArray:
    """Return how many training photos each node has by its own label, ``(n,)``.

    Args:
        path: The photos of training; with splits, those of ``train``.
        taxonomy: The tree.

    Raises:
        DataError: The photos cannot be opened, or no label is in the tree.
    """
    table = open_images(path)
    if table.split_counts():
        table = table.split("train")
    counts = np.zeros(len(taxonomy), dtype=np.int64)
    by_label = table.taxon_counts()
    for match in match_labels(by_label, taxonomy).matches:
        if match.found:
            counts[match.nodes[0]] += by_label[match.label]
    if not counts.any():
        raise DataError(f"{path}: no label of these training photos is in the taxonomy.")
    return counts


def below(counts: IntArray, taxonomy: Taxonomy) -> IntArray:
    """Return the sum of counts over each node and all nodes below it, ``(n,)``.

    Examples:
        >>> tree = Taxonomy.from_edges([("top", "Acer"), ("Acer", "A. rubrum"), ("top", "Rosa")])
        >>> below(np.array([0, 2, 1, 3]), tree).tolist()
        [6, 5, 1, 3]
    """
    sums = counts.copy()
    for level in reversed(taxonomy.level_slices[1:]):
        np.add.at(sums, taxonomy.parent[level], sums[level])
    return sums
