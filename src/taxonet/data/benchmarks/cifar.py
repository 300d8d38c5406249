"""CIFAR-10 and CIFAR-100, cut to the exponential long tail."""

import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from taxonet.data.benchmarks.base import BenchmarkSet
from taxonet.data.benchmarks.checks import ExpectedCounts, require_counts
from taxonet.data.benchmarks.cifar_files import (
    CIFAR10,
    CIFAR100,
    CifarArrays,
    CifarLayout,
    read_official,
)
from taxonet.data.long_tail import cut_to_profile, exponential_profile
from taxonet.data.sources import open_images
from taxonet.data.table import ImageTable
from taxonet.errors import DataError
from taxonet.registry import BENCHMARK_SETS

_TRAIN, _TEST = 50_000, 10_000  # of either set, and every class has as many as the others


@BENCHMARK_SETS.register("cifar10-lt")
def cifar10_lt(
    folder: str | Path, *, imbalance: float = 100, seed: int = 0, check_counts: bool = True
) -> BenchmarkSet:
    """Read CIFAR-10 and cut its training part to an exponential long tail; see `cifar100_lt`."""
    return _long_tailed(Path(folder), CIFAR10, 10, factor=imbalance, seed=seed, check=check_counts)


@BENCHMARK_SETS.register("cifar100-lt")
def cifar100_lt(
    folder: str | Path, *, imbalance: float = 100, seed: int = 0, check_counts: bool = True
) -> BenchmarkSet:
    r"""Read CIFAR-100 and cut its training part to an exponential long tail.

    $$N_k = \lfloor N_{max} \cdot IF^{-k / (c - 1)} \rfloor, \quad k = 0, \dots, c - 1$$

    Classes are ranked in the official order, which is that of their names. The test part stays
    whole. The folder holds one of

    - the binary version, unpacked or as its archive;
    - the Python version likewise, whose pickles are read without running anything;
    - Parquet files called ``cifar100*.parquet`` with a column of encoded images, a label, and
      the split in a column ``split`` or in the file's name. Where there is a column ``order``,
      the rank of an image inside its class, the class of rank k keeps ``order < N_k``.

    Without ``order`` the seed decides which images stay. Pixels of the official versions become
    lossless PNG, so the table is saved as Parquet.

    Args:
        folder: Where the files are.
        imbalance: Images of the commonest over the rarest class, IF; 1 keeps all.
        seed: Key of the shuffle.
        check_counts: Hold the set against its published figures.

    Raises:
        DataError: Files are missing or damaged, or the figures differ.

    Reference:
        Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009); the profile:
        Cui et al., "Class-Balanced Loss Based on Effective Number of Samples" (CVPR 2019).
    """
    return _long_tailed(
        Path(folder), CIFAR100, 100, factor=imbalance, seed=seed, check=check_counts
    )


def _long_tailed(
    folder: Path, layout: CifarLayout, classes: int, *, factor: float, seed: int, check: bool
) -> BenchmarkSet:
    profile = exponential_profile(_TRAIN // classes, factor, classes)
    name = f"{layout.name}-lt"
    if (arrays := read_official(folder, layout)) is not None:
        whole = _table_of(arrays)
        if check:
            require_counts(whole, _expected(np.full(classes, _TRAIN // classes)), name=layout.name)
        cut = cut_to_profile(whole, profile, seed=seed, minimum=0)
        cut = _with_pixels(cut, whole, arrays)
    else:
        cut = _cut_parquet(_read_parquet(folder, layout), profile, seed=seed)
        arrays = None
    if check:
        require_counts(cut, _expected(profile), name=f"{name} of imbalance factor {factor:g}")
    return BenchmarkSet(cut, *_taxonomy(arrays))


def _expected(profile: NDArray[np.int64]) -> ExpectedCounts:
    return ExpectedCounts(
        classes=int((profile > 0).sum()),
        train=int(profile.sum()),
        test=_TEST,
        largest=int(profile[0]),
        smallest=int(profile[profile > 0][-1]),
    )


def _table_of(arrays: CifarArrays) -> ImageTable:
    """Name the images by split and position; their pixels are encoded once they are chosen."""
    parts = [
        pd.DataFrame(
            {
                "image": [f"{split}/{position:05d}.png" for position in range(len(labels))],
                "taxon": labels,
                "split": split,
            }
        )
        for split, labels in arrays.labels.items()
    ]
    return ImageTable(pd.concat(parts, ignore_index=True))


def _with_pixels(cut: ImageTable, whole: ImageTable, arrays: CifarArrays) -> ImageTable:
    pixels = np.concatenate([arrays.pixels[split] for split in arrays.labels])
    position = {image: row for row, image in enumerate(whole.frame["image"])}
    blobs = [_as_png(pixels[position[image]]) for image in cut.frame["image"]]
    return ImageTable(cut.frame, blobs=pa.chunked_array([pa.array(blobs, pa.large_binary())]))


def _as_png(pixels: NDArray[np.uint8]) -> bytes:
    stream = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "PNG")
    return stream.getvalue()


def _taxonomy(arrays: CifarArrays | None) -> tuple[pd.DataFrame | None, tuple[str, ...]]:
    if arrays is None or not arrays.superclasses:
        return None, ()
    rows = [
        {"superclass": group, "category": name, "label": name}
        for name, group in sorted(arrays.superclasses.items())
    ]
    return pd.DataFrame(rows), ("superclass", "category")


def _read_parquet(folder: Path, layout: CifarLayout) -> ImageTable:
    # Not every file that starts so: cifar100 starts with cifar10.
    pattern = re.compile(rf"{layout.stem.replace('-', '-?')}(?!\d).*\.parquet")
    paths = [folder] if folder.is_file() else sorted(folder.glob("*.parquet"))
    tables = [_with_split(path) for path in paths if pattern.fullmatch(path.name)]
    if not tables:
        raise DataError(
            f"{folder} holds no {layout.name}: expected the binary version "
            f"({layout.stem}-binary.tar.gz, or {layout.folders[0]}), the Python version "
            f"({layout.stem}-python.tar.gz, or {layout.folders[1]}), or files called "
            f"{layout.name}*.parquet."
        )
    frame = pd.concat([table.frame for table in tables], ignore_index=True)
    blobs = [table.blobs for table in tables if table.blobs is not None]
    chunks = [chunk.cast(pa.large_binary()) for column in blobs for chunk in column.chunks]
    return ImageTable(frame, blobs=pa.chunked_array(chunks))


def _with_split(path: Path) -> ImageTable:
    table = open_images(path)
    if table.blobs is None:
        raise DataError(f"{path} has no column of encoded images.")
    if table.split_counts():
        return table
    split = next((part for part in ("train", "test") if f"-{part}" in path.stem), None)
    if split is None:
        raise DataError(
            f"{path} says neither in a column `split` nor in its name (-train, -test) which part "
            "of the set it is."
        )
    return table.with_columns(split=[split] * len(table))


def _cut_parquet(table: ImageTable, profile: NDArray[np.int64], *, seed: int) -> ImageTable:
    if "order" not in table.frame:
        return cut_to_profile(table, profile, seed=seed, minimum=0)
    labels = table.taxon_counts()
    # Numbers in text would stand as 0, 1, 10, 11, ..., 2.
    by_number = all(label.isdigit() for label in labels)
    ordered = sorted(labels, key=int) if by_number else sorted(labels)
    kept = dict(zip(ordered, profile, strict=False))
    wanted = table.frame["taxon"].map(kept).to_numpy()
    training = (table.frame["split"] == "train").to_numpy()
    chosen = table.rows(~training | (table.frame["order"].to_numpy() < wanted))
    counts = chosen.rows(chosen.frame["split"] == "train").taxon_counts()
    short = [label for label, count in kept.items() if counts.get(label, 0) < count]
    if short:
        raise DataError(
            f"The files hold {counts.get(short[0], 0)} training images of {short[0]!r}, but this "
            f"imbalance factor keeps {kept[short[0]]} ({len(short)} classes are short): they were "
            "cut to a longer tail already. Ask for a larger imbalance factor."
        )
    return chosen
