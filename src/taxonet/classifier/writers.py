"""Rows into a finished file: CSV, JSON lines or Parquet, by its suffix; whole or absent."""

import csv
import json
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from taxonet.classifier.rows import Row, is_figure
from taxonet.errors import ConfigError
from taxonet.files import atomic_file

Writer = Callable[[Iterable[Row], list[str], Path], None]

_ROWS_PER_GROUP = 10_000


def writer_for(
    out: Path, option: str, *, type_of: Callable[[str], pa.DataType] | None = None
) -> Writer:
    """Return what writes the given columns of rows into such a file.

    Args:
        out: The file.
        option: The option that named it, for the message.
        type_of: The type of a column in Parquet; by default that of a classifier's rows.

    Raises:
        ConfigError: The suffix is none of .csv, .jsonl and .parquet.
    """
    parquet = partial(_write_parquet, type_of=type_of or _arrow_type)
    writers: dict[str, Writer] = {".csv": _write_csv, ".jsonl": _write_jsonl, ".parquet": parquet}
    suffix = out.suffix.lower()
    if suffix not in writers:
        raise ConfigError(f"{option} must end in {', '.join(writers)}, got {out}.")
    return writers[suffix]


def _write_csv(rows: Iterable[Row], columns: list[str], out: Path) -> None:
    with atomic_file(out) as path, path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def _write_jsonl(rows: Iterable[Row], columns: list[str], out: Path) -> None:
    with atomic_file(out) as path, path.open("w", encoding="utf-8") as stream:
        for row in rows:
            ordered = {column: row[column] for column in columns}
            stream.write(json.dumps(ordered, ensure_ascii=False) + "\n")


def _write_parquet(
    rows: Iterable[Row], columns: list[str], out: Path, *, type_of: Callable[[str], pa.DataType]
) -> None:
    schema = pa.schema([(column, type_of(column)) for column in columns])
    rows = iter(rows)
    with atomic_file(out) as path, pq.ParquetWriter(path, schema) as writer:
        while group := list(islice(rows, _ROWS_PER_GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))


def _arrow_type(column: str) -> pa.DataType:
    return pa.float64() if is_figure(column) else pa.string()
