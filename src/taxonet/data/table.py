"""The one form that every collection of photos takes: a row an image."""

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from taxonet.data.decoding import StoredPhoto
from taxonet.errors import DataError, did_you_mean
from taxonet.files import atomic_file

SPLITS = ("train", "val", "calibration", "test")
#: The split of taxa that are kept from training, to judge by; images of it are of no class.
UNKNOWN_SPLIT = "unknown"
OPTIONAL_COLUMNS = ("split", "region", "group", "date", "source", "licence", "digest")
#: SHA-256 of a photo that is not at hand, and whose features a store has.
STORED = "stored_digest"
_TEXT_COLUMNS = ("image", "taxon", *OPTIONAL_COLUMNS, STORED)


@dataclass(frozen=True, eq=False)
class ImageTable:
    """Photos with their labels and whatever else is known of them; it never changes.

    The columns of ``frame`` that taxonet knows hold text or None:

    - ``image``: path relative to ``root``, or an id where the bytes are in ``blobs``;
    - ``taxon``: label as given, None for an unlabelled photo;
    - ``split``: ``train``, ``val``, ``calibration``, ``test``, ``unknown`` (taxa kept from
      training), or None for none of them;
    - ``group``: observation or site; images of one group never straddle two splits;
    - ``stored_digest``: SHA-256 of a photo that is not at hand, and whose features a store has;
    - ``region``, ``date``, ``source``, ``licence``, ``digest``: as given.

    All other columns are kept as they came.

    Args:
        frame: One row an image; ``image`` and ``taxon`` are required.
        root: Folder that the paths are relative to; the working folder if None.
        blobs: The bytes of the images, where they are not files.
        blob_rows: Position of each image in ``blobs``, ``(N,)``; 0..N-1 if not given.
        notes: What the reader of the table left out, in sentences for the user.

    Raises:
        DataError: A required column is missing, an image has no name, or a name occurs twice.

    Examples:
        >>> frame = pd.DataFrame({"image": ["a.jpg", "b.jpg", "c.jpg"], "taxon": ["x", "y", "y"]})
        >>> table = ImageTable(frame)
        >>> len(table), table.taxon_counts()
        (3, {'x': 1, 'y': 2})
        >>> table.rows(table.frame["taxon"] == "y").frame["image"].tolist()
        ['b.jpg', 'c.jpg']
    """

    frame: pd.DataFrame
    root: Path | None = None
    blobs: pa.ChunkedArray | None = None
    blob_rows: NDArray[np.int64] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_columns(self.frame)
        frame = self.frame.reset_index(drop=True)
        for column in _TEXT_COLUMNS:
            if column in frame:
                frame[column] = _as_text(frame[column])
        _require_unique_images(frame["image"])
        object.__setattr__(self, "frame", frame)
        if self.blobs is not None:
            object.__setattr__(self, "blob_rows", self._checked_blob_rows(self.blobs))

    def __len__(self) -> int:
        return len(self.frame)

    def name(self, row: int) -> str:
        """Return the path or id of the image in a row."""
        return str(self.frame["image"].iat[row])

    def source(self, row: int) -> Path | bytes | StoredPhoto:
        """Return where the image of a row is.

        Its path; its bytes, where it is no file; or the digest under which a store has its
        features, where the image is not at hand.
        """
        if STORED in self.frame and isinstance(digest := self.frame[STORED].iat[row], str):
            return StoredPhoto(digest)
        if self.blobs is not None and self.blob_rows is not None:
            data = self.blobs[int(self.blob_rows[row])].as_py()
            return b"" if data is None else bytes(data)
        return (self.root or Path()) / self.name(row)

    def read_bytes(self, row: int) -> bytes:
        """Return the file of an image, undecoded.

        Raises:
            OSError: The file cannot be read.
        """
        source = self.source(row)
        if isinstance(source, StoredPhoto):
            raise FileNotFoundError(f"{self.name(row)} is not at hand, only its features are.")
        return source if isinstance(source, bytes) else source.read_bytes()

    def rows(self, selection: ArrayLike) -> "ImageTable":
        """Return a table of some rows: a boolean mask ``(N,)`` or positions, in their order."""
        chosen = np.asarray(selection)
        if chosen.dtype == bool:
            if chosen.shape != (len(self),):
                raise DataError(
                    f"A mask over the table needs {len(self)} values, got shape {chosen.shape}."
                )
            chosen = np.flatnonzero(chosen)
        chosen = chosen.astype(np.int64)
        blob_rows = None if self.blob_rows is None else self.blob_rows[chosen]
        return replace(self, frame=self.frame.iloc[chosen], blob_rows=blob_rows)

    def split(self, name: str) -> "ImageTable":
        """Return the images of one split.

        Raises:
            DataError: No image is in that split; the message says which splits there are.
        """
        counts = self.split_counts()
        if name not in counts:
            known = ", ".join(f"{split} ({count})" for split, count in counts.items())
            raise DataError(
                f"No image is in the split {name!r}.{did_you_mean(name, counts)} "
                + (f"Splits: {known}." if known else "The table has no splits: make them first.")
            )
        return self.rows(self.frame["split"] == name)

    def split_counts(self) -> dict[str, int]:
        """Return the number of images in each split that has any, in the order of `SPLITS`."""
        if "split" not in self.frame:
            return {}
        counts = self.frame["split"].value_counts()
        ordered = [*SPLITS, *sorted(set(counts.index) - set(SPLITS))]
        return {split: int(counts[split]) for split in ordered if split in counts}

    def taxon_counts(self) -> dict[str, int]:
        """Return the number of images of each label, by label; those without are not counted."""
        counts = self.frame["taxon"].value_counts().sort_index()
        return {str(taxon): int(count) for taxon, count in counts.items()}

    def with_columns(self, **columns: Sequence[Any] | NDArray[Any] | pd.Series) -> "ImageTable":
        """Return a table with columns added or replaced; values go by position."""
        frame = self.frame.copy()
        for name, values in columns.items():
            if len(values) != len(self):
                raise DataError(
                    f"The column {name!r} has {len(values)} values for {len(self)} images."
                )
            # A Series would be aligned by its index, which says nothing about our rows.
            frame[name] = values.to_numpy() if isinstance(values, pd.Series) else values
        return replace(self, frame=frame)

    def save(self, path: str | Path) -> None:
        """Write the table as a manifest that `open_images` reads: CSV, TSV or Parquet.

        Paths are written relative to the manifest's folder. Bytes are written into Parquet, in
        the column ``bytes``. Text formats keep every column as text.

        Raises:
            DataError: The suffix is none of these, or bytes would have to go into text.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in (".csv", ".tsv", ".parquet"):
            raise DataError(f"A table is saved as .csv, .tsv or .parquet, not as {path.name!r}.")
        if self.blobs is not None and suffix != ".parquet":
            raise DataError(f"A table with the bytes inside is saved as .parquet, not {path.name}.")
        frame = self.frame
        if self.blobs is None:
            frame = frame.assign(image=self._paths_relative_to(path.parent))
        with atomic_file(path) as temporary:
            if suffix == ".parquet":
                pq.write_table(self._as_arrow(frame), temporary)
            else:
                _write_text(frame, temporary, separator="\t" if suffix == ".tsv" else ",")

    def _as_arrow(self, frame: pd.DataFrame) -> pa.Table:
        table = pa.Table.from_pandas(frame, preserve_index=False)
        if self.blobs is None:
            return table
        # One by one: `take` on an arrow binary column overflows at two gigabytes.
        sources = (self.source(row) for row in range(len(self)))
        data = [one if isinstance(one, bytes) else None for one in sources]
        return table.append_column("bytes", pa.array(data, type=pa.large_binary()))

    def _paths_relative_to(self, folder: Path) -> list[str]:
        root = (self.root or Path()).resolve()
        start = folder.resolve()
        return [
            name
            if Path(name).is_absolute()
            else Path(os.path.relpath(root / name, start)).as_posix()
            for name in self.frame["image"]
        ]

    def _checked_blob_rows(self, blobs: pa.ChunkedArray) -> NDArray[np.int64]:
        if self.blob_rows is None:
            rows = np.arange(len(blobs), dtype=np.int64)
        else:
            rows = np.asarray(self.blob_rows, dtype=np.int64)
        if rows.shape != (len(self),):
            raise DataError(
                f"A table of {len(self)} images needs as many byte strings, got {len(rows)}."
            )
        return rows


def _write_text(frame: pd.DataFrame, path: Path, *, separator: str) -> None:
    # The writer does not quote a lone carriage return, but readers take it for a line's end.
    texts = frame.select_dtypes(exclude="number")
    has_return = any(texts[column].astype(str).str.contains("\r").any() for column in texts)
    quoting: Literal[0, 1] = csv.QUOTE_ALL if has_return else csv.QUOTE_MINIMAL
    frame.to_csv(path, index=False, sep=separator, lineterminator="\n", quoting=quoting)


def _require_columns(frame: pd.DataFrame) -> None:
    columns = [str(column) for column in frame.columns]
    for needed in ("image", "taxon"):
        if needed not in columns:
            raise DataError(
                f"An image table needs the column {needed!r}.{did_you_mean(needed, columns)} "
                f"Columns: {', '.join(columns) or 'none'}."
            )


def _require_unique_images(images: pd.Series) -> None:
    nameless = np.flatnonzero(images.isna())
    if len(nameless):
        rows = ", ".join(str(row) for row in nameless[:5])
        raise DataError(f"{len(nameless)} rows name no image (first rows, from 0: {rows}).")
    repeated = images[images.duplicated()].unique()
    if len(repeated):
        names = ", ".join(repr(name) for name in repeated[:5])
        raise DataError(
            f"{len(repeated)} images stand in more than one row (first: {names}). Keep one row "
            "for each image: with two, one photo could be in two splits."
        )


def _as_text(column: pd.Series) -> pd.Series:
    """Turn a column into str or None: a blank is missing, and a whole number has no point."""
    values = column.astype(object)
    texts = [
        None if missing else _text(value)
        for value, missing in zip(values, values.isna(), strict=True)
    ]
    return pd.Series(texts, index=column.index, dtype=object)


def _text(value: Any) -> str | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value)
    return text if text.strip() else None
