"""Tables of text: CSV, TSV and Parquet files and data frames, read the same way."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from taxonet.errors import TaxonomyError, did_you_mean
from taxonet.taxonomy.names import clean_name

TableSource = str | os.PathLike[str] | pd.DataFrame
"""What a table can be read from: a path, or a data frame."""

SEPARATORS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class Table:
    """A table and the names of its rows in messages.

    Args:
        frame: Its cells, under clean column names.
        source: What messages call it: the file's name, or ``the table``.
        first_row: The number of its first row in the file (a header is row 1); for a frame
            None, and rows are called by their index.
    """

    frame: pd.DataFrame
    source: str
    first_row: int | None

    def row(self, position: int) -> str:
        """Return where a row stands, for messages: ``row 7 of plants.csv``."""
        if self.first_row is None:
            return f"row {self.frame.index[position]} of {self.source}"
        return f"row {self.first_row + position} of {self.source}"

    def column(self, name: str) -> "pd.Series[str]":
        """Return one column.

        Raises:
            TaxonomyError: There is none of this name; the message gives the nearest.
        """
        if name not in self.frame.columns:
            columns = [str(column) for column in self.frame.columns]
            raise TaxonomyError(
                f"{self.source} has no column {name!r}.{did_you_mean(name, columns)} "
                f"Its columns: {', '.join(columns)}."
            )
        return self.frame[name]

    def encode(self, name: str, vocabulary: dict[str, int]) -> NDArray[np.int64]:
        """Return the cells of a column as codes of their clean text, -1 where empty.

        Args:
            name: The column.
            vocabulary: Clean texts and their codes; new texts are added to it.
        """
        column = self.column(name)
        if pd.api.types.is_float_dtype(column) and column.notna().any():
            raise TaxonomyError(
                f"Column {name!r} of {self.source} holds floating-point numbers, which have no "
                "exact text. Convert it to text or whole numbers first."
            )
        codes, texts = pd.factorize(column)
        known = [
            vocabulary.setdefault(clean, len(vocabulary)) if clean else -1
            for clean in map(clean_name, map(str, texts))
        ]
        return np.array([*known, -1])[codes]  # the last stands for the code -1 of a missing cell


def read(source: TableSource, *, has_header: Callable[[list[str]], bool]) -> Table:
    """Read a file or data frame as a table of text.

    Args:
        source: A path that ends in .csv, .tsv or .parquet (.csv.gz and .tsv.gz too), or a frame.
        has_header: Says of the first row of a delimited file whether it names the columns;
            where it does not, the columns are called ``1``, ``2``, and so on.

    Raises:
        TaxonomyError: The file cannot be read as a table, has no rows, or has two columns of
            the same name.
    """
    if isinstance(source, pd.DataFrame):
        return _named(source, source.columns, called="the table", first_row=None)
    path = Path(source)
    if not path.is_file():
        raise TaxonomyError(f"There is no file {os.fspath(path)!r}.")
    if path.suffix == ".parquet":
        frame = pd.read_parquet(path)
        return _named(frame, frame.columns, called=path.name, first_row=1)
    frame = _read_delimited(path)
    first = [clean_name(cell) for cell in frame.iloc[0]]
    if has_header(first):
        return _named(frame.iloc[1:], first, called=path.name, first_row=2)
    numbers = range(1, len(first) + 1)
    return _named(frame, numbers, called=path.name, first_row=1)


def separator(path: Path) -> str:
    r"""Return what separates the cells of a delimited file, by its suffix.

    Examples:
        >>> separator(Path("plants.csv.gz")), separator(Path("plants.tsv"))
        (',', '\t')

    Raises:
        TaxonomyError: The suffix is none that is known.
    """
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if suffix not in SEPARATORS:
        raise TaxonomyError(
            f"Cannot tell the format of {path.name!r}: expected a name that ends in .csv, .tsv, "
            ".csv.gz, .tsv.gz or .parquet."
        )
    return SEPARATORS[suffix]


def _read_delimited(path: Path) -> pd.DataFrame:
    try:
        # Without a header pandas neither renames columns nor takes a long row for an index, and
        # it counts rows as a spreadsheet does. Cells such as NA and None are names like others.
        return pd.read_csv(
            path,
            sep=separator(path),
            header=None,
            dtype=object,
            keep_default_na=False,
            encoding="utf-8-sig",
        )
    except pd.errors.EmptyDataError:
        raise TaxonomyError(f"{path.name} is empty.") from None
    except pd.errors.ParserError as error:
        raise TaxonomyError(
            f"{path.name} is not a regular table: {error}. Put cells that contain "
            f"{separator(path)!r} in double quotes."
        ) from None
    except UnicodeDecodeError as error:
        raise TaxonomyError(f"{path.name} is not UTF-8 text ({error}). Save it as UTF-8.") from None


def _named(
    frame: pd.DataFrame, columns: Iterable[object], *, called: str, first_row: int | None
) -> Table:
    names = [clean_name(str(column)) for column in columns]
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if repeated:
        raise TaxonomyError(f"{called} has two columns called {repeated[0]!r}.")
    if frame.empty:
        raise TaxonomyError(f"{called} has no rows.")
    return Table(frame.set_axis(names, axis=1), called, first_row)
