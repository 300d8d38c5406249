"""The iNaturalist competition sets of 2018, 2019 and 2021, from their JSON files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from taxonet.data.benchmarks.annotations import labelled_images, load_json, records
from taxonet.data.benchmarks.base import BenchmarkSet, find_file, require_folder
from taxonet.data.benchmarks.checks import (
    ExpectedCounts,
    require_counts,
    require_files,
    require_unique,
)
from taxonet.data.table import ImageTable
from taxonet.errors import DataError
from taxonet.registry import BENCHMARK_SETS

_RANKS = ("kingdom", "phylum", "class", "order", "family", "genus")


@dataclass(frozen=True)
class _Year:
    """One of the sets: its annotation files, its figures, and whether its names are unreadable."""

    name: str
    train: str
    val: str
    obscured: bool
    expected: ExpectedCounts


# Totals and classes: the README files of the organisers' repository, visipedia/inat_comp; for
# 2019 it gives the sum of both parts, 268,243. The extremes of 2018 are those that the long-tail
# papers print, and 50 a class is how the mini part of 2021 was made.
_2018 = _Year(
    "inat2018",
    "train2018.json",
    "val2018.json",
    obscured=True,
    expected=ExpectedCounts(classes=8_142, train=437_513, test=24_426, largest=1_000, smallest=2),
)
_2019 = _Year(
    "inat2019",
    "train2019.json",
    "val2019.json",
    obscured=True,
    expected=ExpectedCounts(classes=1_010, train=265_213, test=3_030),
)
_2021 = _Year(
    "inat2021",
    "train.json",
    "val.json",
    obscured=False,
    expected=ExpectedCounts(classes=10_000, train=2_686_843, test=100_000),
)
_2021_MINI = _Year(
    "inat2021-mini",
    "train_mini.json",
    "val.json",
    obscured=False,
    expected=ExpectedCounts(classes=10_000, train=500_000, test=100_000, largest=50, smallest=50),
)


@BENCHMARK_SETS.register("inat2018")
def inaturalist_2018(
    folder: str | Path,
    *,
    lists: Path | None = None,
    check_counts: bool = True,
    check_files: bool = True,
) -> BenchmarkSet:
    """Read iNaturalist 2018 from its JSON files and its folder of images.

    The images that the organisers call validation are the split ``test``: the test labels were
    never published, and papers report on these. A label is the number of its category; the
    taxonomy has a row a category, kingdom to species, from ``categories.json`` where that file
    is there. Without it the names are those of the competition, which were made unreadable.

    Args:
        folder: Holds ``train_val2018``.
        lists: Folder of ``train2018.json``, ``val2018.json`` and ``categories.json``; the
            images' folder by default.
        check_counts: Hold the set against its published figures.
        check_files: Look whether every image is there.

    Raises:
        DataError: A file or an image is missing, a JSON file is not of this kind, or the figures
            differ.

    Reference:
        Van Horn et al., "The iNaturalist Species Classification and Detection Dataset" (CVPR
        2018), for the sets' making.
    """
    return _read(_2018, folder, lists, check_counts=check_counts, check_files=check_files)


@BENCHMARK_SETS.register("inat2019")
def inaturalist_2019(
    folder: str | Path,
    *,
    lists: Path | None = None,
    check_counts: bool = True,
    check_files: bool = True,
) -> BenchmarkSet:
    """Read iNaturalist 2019; as `inaturalist_2018`, with 2019 in the names of the files."""
    return _read(_2019, folder, lists, check_counts=check_counts, check_files=check_files)


@BENCHMARK_SETS.register("inat2021")
def inaturalist_2021(
    folder: str | Path,
    *,
    lists: Path | None = None,
    check_counts: bool = True,
    check_files: bool = True,
) -> BenchmarkSet:
    """Read iNaturalist 2021; as `inaturalist_2018`, from ``train.json`` and ``val.json``.

    The folder holds ``train`` and ``val``. The JSON files have the true names themselves.
    """
    return _read(_2021, folder, lists, check_counts=check_counts, check_files=check_files)


@BENCHMARK_SETS.register("inat2021-mini")
def inaturalist_2021_mini(
    folder: str | Path,
    *,
    lists: Path | None = None,
    check_counts: bool = True,
    check_files: bool = True,
) -> BenchmarkSet:
    """Read the mini part of iNaturalist 2021; as `inaturalist_2021`, from ``train_mini.json``."""
    return _read(_2021_MINI, folder, lists, check_counts=check_counts, check_files=check_files)


def _read(
    year: _Year,
    folder: str | Path,
    lists: Path | None,
    *,
    check_counts: bool,
    check_files: bool,
) -> BenchmarkSet:
    root = require_folder(folder, holds="the images, as the JSON files name them")
    place = root if lists is None else Path(lists)
    frames: list[pd.DataFrame] = []
    categories: list[dict[str, Any]] = []
    for split, name in (("train", year.train), ("test", year.val)):
        path = find_file([place], [name])
        if path is None:
            raise DataError(
                f"No {name} in {place}: put the organisers' JSON files there, or name their "
                "folder (--lists)."
            )
        content = load_json(path)
        categories = categories or records(content, "categories", path)
        frames.append(labelled_images(content, path).assign(split=split))
    frame = pd.concat(frames, ignore_index=True)
    require_unique(frame["image"].tolist(), source=f"{year.train} and {year.val}")
    if check_files:
        require_files(root, frame["image"], name=year.name)
    notes: tuple[str, ...] = ()
    if year.obscured:
        categories, notes = _true_names(place, categories)
    taxonomy = _taxonomy(categories)
    _require_known(frame, taxonomy)
    images = ImageTable(frame, root=root, notes=notes)
    if check_counts:
        require_counts(images, year.expected, name=year.name)
    return BenchmarkSet(images, taxonomy)


def _true_names(
    place: Path, categories: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Return the categories under their true names, or as they are with a word to the user."""
    path = find_file([place], ["categories.json"])
    if path is None:
        return categories, (
            "The taxa have the competition's unreadable names: put categories.json beside the "
            "JSON files for the true ones.",
        )
    named = load_json(path)
    if not isinstance(named, list):
        raise DataError(f"{path} must hold a list of categories, but holds something else.")
    if _ids(named) != _ids(categories):
        raise DataError(
            f"{path} has other categories than the annotation files: it is of another year."
        )
    return named, ()


def _ids(categories: list[dict[str, Any]]) -> set[Any]:
    return {category.get("id") for category in categories}


def _taxonomy(categories: list[dict[str, Any]]) -> pd.DataFrame:
    """Return a row a category: its number as ``label``, and its path from kingdom to species."""
    try:
        rows = [
            {
                "label": str(category["id"]),
                **{rank: category.get(rank) for rank in _RANKS},
                "species": category["name"],
            }
            for category in categories
        ]
    except KeyError as error:
        raise DataError(f"A category lacks the field {error}.") from None
    table = pd.DataFrame(rows)
    table = table.drop(columns=[rank for rank in _RANKS if table[rank].isna().all()])
    alike = table[table.duplicated(subset=list(table.columns[1:]), keep=False)]
    if len(alike):
        raise DataError(
            f"Categories {alike['label'].iat[0]} and {alike['label'].iat[1]} have the same names "
            "from kingdom to species: they would be one class."
        )
    return table


def _require_known(frame: pd.DataFrame, taxonomy: pd.DataFrame) -> None:
    unknown = sorted(set(frame["taxon"]) - set(taxonomy["label"]))
    if unknown:
        raise DataError(
            f"Images are annotated with {len(unknown)} categories that the list of categories "
            f"lacks (first: {unknown[0]})."
        )
