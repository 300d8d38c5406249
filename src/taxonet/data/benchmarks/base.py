"""What a reader of a benchmark set returns."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from taxonet.data.table import ImageTable
from taxonet.errors import DataError


@dataclass(frozen=True, eq=False)
class BenchmarkSet:
    """A benchmark set as taxonet uses it.

    Args:
        images: The photos, with ``split`` filled.
        taxonomy: One row a class, with a column ``label`` that holds the labels of ``images``;
            None where the set has no taxonomy.
        ranks: The columns of ``taxonomy`` that are ranks, coarse to fine, where they are not the
            usual ones (kingdom, ..., species); empty otherwise.
    """

    images: ImageTable
    taxonomy: pd.DataFrame | None = None
    ranks: tuple[str, ...] = ()


def find_file(folders: list[Path], names: list[str]) -> Path | None:
    """Return the first file of these names in these folders, names in order of preference."""
    candidates = (folder / name for name in names for folder in folders)
    return next((path for path in candidates if path.is_file()), None)


def require_folder(folder: str | Path, *, holds: str) -> Path:
    """Return the folder as a path.

    Raises:
        DataError: It does not exist; the message says what it should hold.
    """
    path = Path(folder)
    if not path.is_dir():
        raise DataError(f"{path} is no folder: expected one that holds {holds}.")
    return path
