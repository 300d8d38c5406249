"""What a benchmark set is held against before it is used: counts, files, duplicates.

A set that lacks a few files or was cut in another way still trains, and its figures then compare
with nobody's. So a difference is an error, and using the set all the same takes a word.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from taxonet.data.table import ImageTable
from taxonet.errors import DataError

_NAMED = 10


@dataclass(frozen=True)
class ExpectedCounts:
    """The published figures of a set; None where none is published.

    Args:
        classes: Number of classes, in training.
        train: Training images.
        test: Test images.
        val: Validation images.
        largest: Training images of the commonest class.
        smallest: Training images of the rarest class.
    """

    classes: int
    train: int
    test: int
    val: int | None = None
    largest: int | None = None
    smallest: int | None = None


def require_counts(table: ImageTable, expected: ExpectedCounts, *, name: str) -> None:
    """Compare a set with its published figures.

    Raises:
        DataError: Some differ; the message has each, expected and found.

    Examples:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"image": ["a", "b"], "taxon": ["x", "x"], "split": "train"})
        >>> expected = ExpectedCounts(classes=1, train=3, test=0)
        >>> require_counts(ImageTable(frame), expected, name="tiny")
        Traceback (most recent call last):
        ...
        taxonet.errors.DataError: These files are not the set tiny as published: train images: \
expected 3, found 2. Check that all files are there and of the right version, or accept what is \
there with check_counts=False (--no-check-counts).
    """
    splits = table.split_counts()
    training = table.rows(table.frame["split"] == "train").taxon_counts()
    sizes = training.values()
    compared = {
        "classes": (expected.classes, len(training)),
        "train images": (expected.train, splits.get("train", 0)),
        "val images": (expected.val, splits.get("val", 0)),
        "test images": (expected.test, splits.get("test", 0)),
        "images of the largest class": (expected.largest, max(sizes, default=0)),
        "images of the smallest class": (expected.smallest, min(sizes, default=0)),
    }
    problems = [
        f"{what}: expected {wanted:,}, found {found:,}"
        for what, (wanted, found) in compared.items()
        if wanted is not None and wanted != found
    ]
    strangers = sorted(set(table.taxon_counts()) - set(training))
    if strangers:
        problems.append(
            f"{len(strangers)} classes without a training image (first: {strangers[0]})"
        )
    if problems:
        raise DataError(
            f"These files are not the set {name} as published: {'; '.join(problems)}. Check that "
            "all files are there and of the right version, or accept what is there with "
            "check_counts=False (--no-check-counts)."
        )


def require_unique(names: Sequence[str], *, source: str) -> None:
    """Refuse a list that names an image twice.

    Raises:
        DataError: Some images are listed more than once; the first ten are named.
    """
    seen: set[str] = set()
    repeated: dict[str, None] = {}
    for name in names:
        if name in seen:
            repeated[name] = None
        seen.add(name)
    if repeated:
        raise DataError(
            f"{source}: {len(repeated):,} of {len(seen):,} images are listed more than once "
            f"({_first(repeated)}). Take the published list as it is."
        )


def require_files(root: Path, names: Iterable[str], *, name: str) -> None:
    """Check that every image is on disk, reading each folder once.

    Raises:
        DataError: Some are missing; the message has their number, share and the first ten.
    """
    by_folder: dict[str, list[str]] = defaultdict(list)
    listed = 0
    for image in names:
        by_folder[str(PurePosixPath(image).parent)].append(image)
        listed += 1
    missing: list[str] = []
    for folder, images in by_folder.items():
        present = _file_names(root / folder)
        missing += [image for image in images if PurePosixPath(image).name not in present]
    if missing:
        raise DataError(
            f"{len(missing):,} of the {listed:,} images of {name} "
            f"({len(missing) / listed:.1%}) are not below {root}: {_first(sorted(missing))}. Check "
            "the folder, or accept broken images with check_files=False (--no-check-files)."
        )


def _file_names(folder: Path) -> set[str]:
    try:
        return {entry.name for entry in folder.iterdir()}
    except OSError:  # no such folder, or none to be read: all of its files are missing
        return set()


def _first(names: Iterable[str]) -> str:
    named = list(names)
    text = ", ".join(named[:_NAMED])
    return text if len(named) <= _NAMED else f"{text}, ..."
