"""Prediction of any number of photos into a file: streamed, resumable, whole or absent.

Rows are spooled as JSON lines into ``<out>.partial`` while the photos are read; the finished file
is written from the spool. So every format resumes in the same way, and memory does not grow with
the number of photos.
"""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from taxonet.classifier.classifier import TaxonClassifier
from taxonet.classifier.folder import identity
from taxonet.classifier.restriction import classes_listed, classes_within, read_species_list
from taxonet.classifier.rows import Row
from taxonet.data.finding import find_images
from taxonet.errors import ConfigError, DataError
from taxonet.files import atomic_file
from taxonet.progress import Progress
from taxonet.recipes.verbs import PredictConfig

_ROWS_PER_GROUP = 10_000


@dataclass(frozen=True)
class PredictionSummary:
    """What a prediction run did."""

    out: Path
    images: int
    unreadable: int
    unknown: int
    resumed_from: int
    notes: tuple[str, ...] = ()


def predict_to_file(config: PredictConfig, *, show_progress: bool = False) -> PredictionSummary:
    """Name photos and write one row each to ``config.out``.

    Raises:
        ConfigError: The format is unknown, or a file is there that must not be overwritten.
        DataError: A resume with another classifier, other options or other photos.
    """
    writer = _writer_for(config.out)
    spool = Spool(config.out, header=_header(config))
    done = spool.open(resume=config.resume)
    classifier = TaxonClassifier.load(config.classifier, device=config.device)
    allowed, notes = _allowed(config, classifier)
    maker = classifier.row_maker(top_k=config.top_k)
    photos = spool.skip_done(str(photo) for photo in find_images(config.images))
    rows = classifier.rows(
        ((photo, Path(photo)) for photo in photos),
        maker=maker,
        allowed=allowed,
        renormalise=config.renormalise,
        batch_size=config.batch_size,
        workers=config.workers,
    )
    with spool, Progress("naming photos", None, shown=show_progress, done=done) as progress:
        for row in rows:
            spool.write(row)
            progress.advance()
    writer(spool.rows(), maker.columns, config.out)
    summary = _summary(config, spool, done, notes)
    spool.remove()
    return summary


class Spool:
    """Rows on disk that a killed run goes on from.

    Args:
        out: The file that the rows are for; the spool is ``<out>.partial`` beside it.
        header: What decides the rows; a resume must have the same.
    """

    def __init__(self, out: Path, *, header: dict[str, Any]) -> None:
        self._out, self._header = out, header
        self._path = out.with_name(out.name + ".partial")
        self._done = 0

    def open(self, *, resume: bool) -> int:
        """Start, or go on; return how many rows are there already.

        Raises:
            ConfigError: Something is there and ``resume`` was not asked for.
            DataError: The spool was made by another classifier or with other options.
        """
        if not resume:
            self._refuse_existing()
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(json.dumps(self._header) + "\n", encoding="utf-8")
        elif not self._path.exists():
            raise ConfigError(
                f"There is nothing to resume: {self._path} does not exist. Run without --resume."
            )
        else:
            self._check_header()
            self._drop_torn_line()
            self._done = sum(1 for _ in self.rows())
        self._stream = self._path.open("a", encoding="utf-8")
        return self._done

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.close()

    def write(self, row: Row) -> None:
        """Append one row."""
        self._stream.write(json.dumps(row, ensure_ascii=False) + "\n")

    def rows(self) -> Iterator[Row]:
        """Read all rows from the disk, one at a time."""
        with self._path.open(encoding="utf-8") as stream:
            next(stream)
            for line in stream:
                yield json.loads(line)

    def skip_done(self, photos: Iterable[str]) -> Iterator[str]:
        """Yield the photos that have no row yet; those that have must be the first, in order.

        Raises:
            DataError: The list of photos changed since the rows were written.
        """
        photos = iter(photos)
        for row in islice(self.rows(), self._done):
            photo = next(photos, None)
            if photo != row["image"]:
                raise DataError(
                    f"{self._path} goes on after {row['image']!r}, but the photos now have "
                    f"{photo!r} in its place: the list of photos changed. Remove {self._path} and "
                    "start again without --resume."
                )
        yield from photos

    def remove(self) -> None:
        """Delete the spool once the finished file is there."""
        self._path.unlink()

    def _refuse_existing(self) -> None:
        if self._out.exists():
            raise ConfigError(f"{self._out} exists already. Remove it or choose another --out.")
        if self._path.exists():
            raise ConfigError(
                f"{self._path} holds the rows of an interrupted run. Add --resume to go on with "
                "it, or remove it."
            )

    def _check_header(self) -> None:
        with self._path.open(encoding="utf-8") as stream:
            found = json.loads(stream.readline() or "{}")
        different = [key for key in self._header if found.get(key) != self._header[key]]
        if different:
            raise DataError(
                f"{self._path} was made with another {', '.join(different)} than this run has. "
                "Resume with the same classifier and options, or remove it and start again."
            )

    def _drop_torn_line(self) -> None:
        """Cut off the line that a kill left unfinished."""
        with self._path.open("rb+") as stream:
            end = 0
            for line in stream:
                if not line.endswith(b"\n"):
                    break
                end += len(line)
            stream.truncate(end)


def _header(config: PredictConfig) -> dict[str, Any]:
    species = config.species_list.read_text(encoding="utf-8") if config.species_list else None
    return {
        "classifier": identity(config.classifier),
        "top_k": config.top_k,
        "within": list(config.within),
        "species_list": species,
        "renormalise": config.renormalise,
    }


def _allowed(config: PredictConfig, classifier: TaxonClassifier) -> tuple[Any, tuple[str, ...]]:
    taxonomy, class_nodes = classifier.taxonomy, classifier.class_nodes
    allowed, notes = None, []
    if config.within:
        allowed = classes_within(taxonomy, class_nodes, config.within)
    if config.species_list is not None:
        names = read_species_list(config.species_list)
        listed, unknown = classes_listed(taxonomy, class_nodes, names)
        allowed = listed if allowed is None else allowed & listed
        notes.append(
            f"The species list allows {int(listed.sum())} of {len(listed)} taxa; {len(unknown)} of "
            f"its {len(names)} names are not in the classifier"
            + (f" (first: {', '.join(unknown[:3])})." if unknown else ".")
        )
    if allowed is not None and not allowed.any():
        raise ConfigError("--within and --species-list together allow no taxon.")
    return allowed, tuple(notes)


def _summary(
    config: PredictConfig, spool: Spool, done: int, notes: tuple[str, ...]
) -> PredictionSummary:
    images = unreadable = unknown = 0
    for row in spool.rows():
        images += 1
        unreadable += row["rule"] == "unreadable"
        unknown += row["rule"] == "unknown"
    return PredictionSummary(config.out, images, unreadable, unknown, done, notes)


def _writer_for(out: Path) -> Any:
    writers = {".csv": _write_csv, ".jsonl": _write_jsonl, ".parquet": _write_parquet}
    suffix = out.suffix.lower()
    if suffix not in writers:
        raise ConfigError(f"--out must end in {', '.join(writers)}, got {out}.")
    return writers[suffix]


def _write_csv(rows: Iterable[Row], columns: list[str], out: Path) -> None:
    with atomic_file(out) as path, path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)


def _write_jsonl(rows: Iterable[Row], columns: list[str], out: Path) -> None:
    with atomic_file(out) as path, path.open("w", encoding="utf-8") as stream:
        for row in rows:
            ordered = {column: row[column] for column in columns}
            stream.write(json.dumps(ordered, ensure_ascii=False) + "\n")


def _write_parquet(rows: Iterable[Row], columns: list[str], out: Path) -> None:
    schema = pa.schema([(column, _arrow_type(column)) for column in columns])
    rows = iter(rows)
    with atomic_file(out) as path, pq.ParquetWriter(path, schema) as writer:
        while group := list(islice(rows, _ROWS_PER_GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))


def _arrow_type(column: str) -> pa.DataType:
    is_figure = column.endswith("_probability") or column in {"probability", "noveltyScore"}
    return pa.float64() if is_figure else pa.string()
