"""One flat row a photo: what is true, what the model named, and why where it named nothing."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from taxonet.benchmark.chat.answering import AnsweredPhoto
from taxonet.benchmark.chat.judged import LEVELS, JudgedPhotos
from taxonet.classifier.writers import writer_for
from taxonet.files import readable_path
from taxonet.taxonomy import Taxonomy

_TYPES = {
    "genus_right": pa.bool_(),
    "species_right": pa.bool_(),
    "input_tokens": pa.int64(),
    "output_tokens": pa.int64(),
}
COLUMNS = [
    "image",
    "genus",
    "species",
    "named_genus",
    "named_species",
    "genus_right",
    "species_right",
    "outcome",
    "reason",
    "input_tokens",
    "output_tokens",
    "question",
]


def write_rows(
    photos: JudgedPhotos, answered: Sequence[AnsweredPhoto], taxonomy: Taxonomy, out: Path
) -> None:
    """Write a row for each photo, whole or not at all: .csv, .jsonl or .parquet.

    Args:
        photos: N photos.
        answered: What came of asking about each.
        taxonomy: The tree.
        out: The file.
    """
    write = writer_for(out, "--rows", type_of=lambda column: _TYPES.get(column, pa.string()))
    write(_rows(photos, answered, taxonomy), COLUMNS, out)


def _rows(
    photos: JudgedPhotos, answered: Sequence[AnsweredPhoto], taxonomy: Taxonomy
) -> Iterator[dict[str, Any]]:
    for place, one in enumerate(answered):
        row: dict[str, Any] = {"image": readable_path(photos.table.name(place))}
        for rank, named in zip(LEVELS, (one.naming.genus, one.naming.species), strict=True):
            truth = int(photos.truth[rank][place])
            row[rank] = taxonomy.names[truth] if truth >= 0 else None
            row[f"named_{rank}"] = None if named is None else taxonomy.names[named]
            row[f"{rank}_right"] = named == truth if truth >= 0 else None
        yield row | {
            "outcome": one.naming.outcome,
            # A server's words may hold what no file takes, such as half of a surrogate pair.
            "reason": None if one.naming.reason is None else readable_path(one.naming.reason),
            "input_tokens": one.input_tokens,
            "output_tokens": one.output_tokens,
            "question": one.digest,
        }
