"""Splits that keep every taxon in training, and every observation in one split."""

from collections import defaultdict
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from taxonet.data.ordering import keyed_order
from taxonet.data.table import SPLITS, UNKNOWN_SPLIT, ImageTable
from taxonet.errors import DataError, did_you_mean

DEFAULT_FRACTIONS: Mapping[str, float] = MappingProxyType(
    {"train": 0.7, "val": 0.1, "calibration": 0.1, "test": 0.1}
)
DEFAULT_COMPLETION: Mapping[str, float] = MappingProxyType({"val": 0.1, "calibration": 0.1})


def split_images(
    table: ImageTable,
    *,
    fractions: Mapping[str, float] = DEFAULT_FRACTIONS,
    seed: int,
    held_out: NDArray[np.bool_] | None = None,
) -> ImageTable:
    """Give every labelled image a split; the order of the rows makes no difference.

    Splits are stratified by taxon. Images with one value of ``group`` (an observation, a site)
    go to one split together, even when they show several taxa. Units are handed out one by one,
    rarest taxon first, each to the split that lacks most of that taxon's share.

    Training comes first: every taxon has at least one training image, so a taxon with one image
    (or one group) is in training alone. With the default fractions a taxon of two images has
    both in training; one of three has two there and the third where the whole table lacks most.

    Args:
        table: Images with labels; unlabelled ones get no split, unless their group has one.
        fractions: Share of each split, above 0, summing to 1; ``train`` must be among them.
        seed: Decides which images go where.
        held_out: Which images ``(N,)`` go to the split ``unknown`` whatever their group, and take
            no part in the others; see `images_of_taxa`.

    Returns:
        The table with the column ``split``.

    Raises:
        DataError: The fractions are not of known splits or do not sum to 1.

    Reference:
        Sechidis et al., "On the Stratification of Multi-Label Data" (ECML PKDD 2011), for
        handing out by largest remaining demand.

    Examples:
        >>> import pandas as pd
        >>> names = [f"{i}.jpg" for i in range(20)]
        >>> table = ImageTable(pd.DataFrame({"image": names, "taxon": ["a"] * 20}))
        >>> split_images(table, seed=0).split_counts()
        {'train': 14, 'val': 2, 'calibration': 2, 'test': 2}
    """
    _check_fractions(fractions)
    units = _Units(table if held_out is None else table.rows(~held_out), seed)
    split = np.full(len(table), UNKNOWN_SPLIT, dtype=object)
    split[slice(None) if held_out is None else ~held_out] = units.to_rows(
        _hand_out(units, fractions)
    )
    return table.with_columns(split=split)


def complete_splits(
    table: ImageTable, *, fractions: Mapping[str, float] = DEFAULT_COMPLETION, seed: int
) -> ImageTable:
    """Keep the splits that a table has, and take ``val`` and ``calibration`` out of ``train``.

    Only what is missing is taken, by the rules of `split_images`: training keeps at least one
    image of every taxon, and groups stay whole. ``test`` and ``unknown`` images are never
    touched or made.

    Args:
        table: Images with a ``split`` column that has ``train``.
        fractions: Share of the present training images that each missing split takes.
        seed: Decides which images are taken.

    Raises:
        DataError: The table has no training split, or splits of unknown names.
    """
    present = table.split_counts()
    for name in present:
        if name not in (known := (*SPLITS, UNKNOWN_SPLIT)):
            raise DataError(
                f"The table has a split {name!r}.{did_you_mean(name, known)} "
                f"Splits are called {', '.join(known)}."
            )
    if "train" not in present:
        raise DataError(
            "The table has no training split: write `train` into its column `split`, or make all "
            "splits anew."
        )
    taken = {name: share for name, share in fractions.items() if name not in present}
    if not taken:
        return table
    rows = np.flatnonzero(table.frame["split"] == "train")
    shares = {"train": 1 - sum(taken.values()), **taken}
    parts = split_images(table.rows(rows), fractions=shares, seed=seed)
    split = table.frame["split"].to_numpy(dtype=object, copy=True)
    split[rows] = parts.frame["split"].to_numpy()
    return table.with_columns(split=split)


class _Units:
    """What is handed out whole: a group of images, or an image without a group."""

    def __init__(self, table: ImageTable, seed: int) -> None:
        images = table.frame["image"].to_numpy()
        taxa = table.frame["taxon"].to_numpy()
        groups = table.frame["group"].to_numpy() if "group" in table.frame else [None] * len(table)
        # A group and an image may have the same name: the first letter keeps them apart.
        names = [
            f"i{image}" if group is None else f"g{group}"
            for image, group in zip(images, groups, strict=True)
        ]
        self.unit_of_row = names
        self.taxa: dict[str, dict[str, int]] = {}  # unit -> taxon -> images
        for unit, taxon in zip(names, taxa, strict=True):
            if taxon is not None:
                counts = self.taxa.setdefault(unit, {})
                counts[taxon] = counts.get(taxon, 0) + 1
        ordered = list(self.taxa)
        self.of_taxon: dict[str, list[str]] = defaultdict(list)  # in keyed order
        for position in keyed_order(ordered, "split", seed):
            for taxon in self.taxa[ordered[position]]:
                self.of_taxon[taxon].append(ordered[position])

    def rarest_first(self) -> list[str]:
        return sorted(self.of_taxon, key=lambda taxon: (len(self.of_taxon[taxon]), taxon))

    def images(self, taxon: str) -> int:
        return sum(self.taxa[unit][taxon] for unit in self.of_taxon[taxon])

    def to_rows(self, split_of: Mapping[str, str]) -> list[str | None]:
        return [split_of.get(unit) for unit in self.unit_of_row]


def _hand_out(units: _Units, fractions: Mapping[str, float]) -> dict[str, str]:
    splits = [name for name in SPLITS if name in fractions]
    wanted = {
        taxon: {split: fractions[split] * units.images(taxon) for split in splits}
        for taxon in units.of_taxon
    }
    wanted_in_all = {split: sum(want[split] for want in wanted.values()) for split in splits}
    split_of: dict[str, str] = {}

    def give(unit: str, split: str) -> None:
        split_of[unit] = split
        for taxon, images in units.taxa[unit].items():
            wanted[taxon][split] -= images
            wanted_in_all[split] -= images

    rarest_first = units.rarest_first()
    # Before anything else, so that a taxon of shared groups cannot end up outside training.
    for taxon in rarest_first:
        if all(split_of.get(unit) != "train" for unit in units.of_taxon[taxon]):
            give(units.of_taxon[taxon][0], "train")
    for taxon in rarest_first:
        for unit in units.of_taxon[taxon]:
            if unit not in split_of:
                give(unit, _neediest(wanted[taxon], wanted_in_all))
    return split_of


def _neediest(wanted: Mapping[str, float], wanted_in_all: Mapping[str, float]) -> str:
    # Rounded, so that equal demands tie whatever the order of the additions that made them.
    return max(wanted, key=lambda s: (round(wanted[s], 6), round(wanted_in_all[s], 6)))


def _check_fractions(fractions: Mapping[str, float]) -> None:
    for name, share in fractions.items():
        if name not in SPLITS:
            raise DataError(
                f"There is no split {name!r}.{did_you_mean(name, SPLITS)} "
                f"Splits are called {', '.join(SPLITS)}."
            )
        if not 0 < share <= 1:
            raise DataError(f"The share of the split {name!r} must lie in (0, 1], got {share}.")
    if "train" not in fractions:
        raise DataError("The fractions need a share for `train`.")
    total = sum(fractions.values())
    if abs(total - 1) > 1e-6:
        raise DataError(f"The shares of the splits must sum to 1, got {total:g}.")
