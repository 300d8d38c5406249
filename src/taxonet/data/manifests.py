"""Tables that list images: which column is which, and where the files are."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from taxonet.data.table import ImageTable
from taxonet.errors import DataError, did_you_mean

MANIFEST_SUFFIXES = (".csv", ".tsv", ".parquet")
# The first is taxonet's own name and wins; two of the others at once are ambiguous.
_IMAGE_NAMES = ("image", "path", "file", "filename", "file_name", "filepath", "image_path")
_LABEL_NAMES = ("taxon", "label", "species", "scientificName", "scientific_name", "class")
_ROWS_TRIED = 100


def read_manifest(
    path: Path, *, image_column: str | None, label_column: str | None, labelled: bool
) -> ImageTable:
    """Read a CSV, TSV or Parquet table of images; the options are those of `open_images`."""
    blobs = None
    if path.suffix.lower() == ".parquet":
        frame, blobs = _read_parquet(path, image_column)
        image_column = "image" if blobs is not None else image_column
    else:
        frame = _read_text(path)
    columns = [str(column) for column in frame.columns]
    wanted = {"image": _choose(path, columns, "image", _IMAGE_NAMES, image_column)}
    if labelled:
        wanted["taxon"] = _choose(path, columns, "label", _LABEL_NAMES, label_column)
    frame = _with_standard_names(path, frame, wanted)
    if not labelled:
        frame["taxon"] = None
    if not len(frame):
        raise DataError(f"{path} has no rows: it must list at least one image.")
    root = None if blobs is not None else _image_folder(path.parent, frame["image"])
    return _with_its_path(path, frame, root, blobs)


def _with_its_path(
    path: Path, frame: pd.DataFrame, root: Path | None, blobs: pa.ChunkedArray | None
) -> ImageTable:
    try:
        return ImageTable(frame, root=root, blobs=blobs)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _read_text(path: Path) -> pd.DataFrame:
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        # Only an empty cell is missing: NA is a country, and None may be somebody's label.
        return pd.read_csv(
            path,
            sep=separator,
            dtype=str,
            encoding="utf-8",
            keep_default_na=False,
            na_values=[""],
            index_col=False,
        )
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 (at byte {error.start}): save it as 'CSV UTF-8'."
        ) from None
    except pd.errors.EmptyDataError:
        raise DataError(
            f"{path} is empty: a manifest begins with a line of column names."
        ) from None
    except pd.errors.ParserError as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None


def _read_parquet(
    path: Path, image_column: str | None
) -> tuple[pd.DataFrame, pa.ChunkedArray | None]:
    """Return the columns but for the image bytes, which come as one arrow column, or None."""
    try:
        table = pq.read_table(path, memory_map=True)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from None
    name = _bytes_column(path, table.schema, image_column)
    if name is None:
        return table.to_pandas(), None
    column = table[name]
    paths = None
    if pa.types.is_struct(column.type):
        if column.type.get_field_index("path") >= 0:
            paths = pc.struct_field(column, "path").to_pylist()
        column = pc.struct_field(column, "bytes")
    frame = table.drop_columns([name]).to_pandas()
    if "image" not in frame:
        frame.insert(0, "image", _ids(path.stem, len(frame), paths))
    return frame, column


def _bytes_column(path: Path, schema: pa.Schema, image_column: str | None) -> str | None:
    holding_bytes = [field.name for field in schema if _holds_bytes(field.type)]
    if image_column is not None:
        return image_column if image_column in holding_bytes else None
    if len(holding_bytes) > 1:
        raise DataError(
            f"{path} has several columns of bytes ({', '.join(holding_bytes)}): name the one "
            "with the images (image_column)."
        )
    return holding_bytes[0] if holding_bytes else None


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and _holds_bytes(kind.field(place).type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _ids(stem: str, count: int, paths: Sequence[str | None] | None) -> list[str]:
    """Name images by the paths that came with the bytes if they can be ids, else by number."""
    if paths is not None and all(paths) and len(set(paths)) == count:
        return [str(name) for name in paths]
    return [f"{stem}:{row}" for row in range(count)]


def _choose(
    path: Path, columns: list[str], what: str, names: Sequence[str], given: str | None
) -> str:
    if given is not None:
        if given not in columns:
            raise DataError(
                f"{path} has no column {given!r}.{did_you_mean(given, columns)} "
                f"Columns: {', '.join(columns)}."
            )
        return given
    found = [column for column in columns if column.lower() in {name.lower() for name in names}]
    if names[0] in found or len(found) == 1:
        return names[0] if names[0] in found else found[0]
    if found:
        raise DataError(
            f"{path}: the {what} could be any of the columns {', '.join(found)}: name the one "
            f"that is meant ({what}_column)."
        )
    hint = next((hint for name in names if (hint := did_you_mean(name, columns))), "")
    if len(columns) == 1 and ";" in columns[0]:
        hint = " The table seems to be separated by semicolons: save it with commas."
    raise DataError(
        f"{path} has no column for the {what}: expected one of {', '.join(names)}, or its name "
        f"({what}_column).{hint} Columns: {', '.join(columns)}."
    )


def _with_standard_names(path: Path, frame: pd.DataFrame, wanted: dict[str, str]) -> pd.DataFrame:
    renamed = {old: new for new, old in wanted.items()}
    clash = [new for new, old in wanted.items() if new != old and new in frame.columns]
    if clash:
        # The user chose another column: what the file calls so stays, under a name of its own.
        frame = frame.rename(columns={name: f"{name}_in_file" for name in clash})
    if len(renamed) < len(wanted):
        raise DataError(f"{path}: the image and the label cannot be the same column.")
    return frame.rename(columns=renamed)


def _image_folder(folder: Path, images: pd.Series) -> Path:
    """Return the folder that the paths start from: the manifest's own, or ``images`` beside it."""
    sibling = folder / "images"
    if not sibling.is_dir():
        return folder
    tried = [str(name) for name in images.dropna().head(_ROWS_TRIED)]

    def files_there(root: Path) -> int:
        return sum((root / name).is_file() for name in tried)

    return sibling if files_there(sibling) > files_there(folder) else folder
