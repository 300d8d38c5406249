"""Shards: files of up to 512 entries, each whole or absent."""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from taxonet.data.features.keys import DIGEST_BYTES, Digests, unpack_digest
from taxonet.errors import DataError
from taxonet.files import atomic_file

SHARD_ENTRIES = 512

Vector = NDArray[np.float32]
EntryKey = tuple[bytes, str | None]
"""Digest and view; the view is None where the photo itself is broken."""
Entries = Mapping[EntryKey, Vector | str]
"""Embeddings ``(d,)`` by key, and the reasons of broken photos."""

_SCHEMA = pa.schema(
    [
        pa.field("sha256", pa.binary(DIGEST_BYTES), nullable=False),
        ("view", pa.dictionary(pa.int32(), pa.string())),
        pa.field("row", pa.int32(), nullable=False),
        ("reason", pa.string()),
    ]
)
_NAME = re.compile(r"(\d{6,})\.(npy|parquet)")
_TEMPORARY = re.compile(r"\.\d{6,}\.(npy|parquet)\..*\.tmp")


@dataclass(frozen=True)
class Shard:
    """What a shard's table says.

    Attributes:
        number: Of the shard in its store; what is in a later shard supersedes earlier ones.
        views: Digests ``(n,)`` and rows ``(n,)`` int64 of the embeddings, by view.
        broken: Reasons of broken photos, by digest in hexadecimal digits.
        entries: Number of both.
    """

    number: int
    views: dict[str, tuple[Digests, NDArray[np.int64]]]
    broken: dict[str, str]
    entries: int


def shard_numbers(folder: Path) -> set[int]:
    """Return the numbers of the shards that are complete: those with both files."""
    found: dict[str, set[int]] = {"npy": set(), "parquet": set()}
    for name in os.listdir(folder):  # noqa: PTH208 - a Path for each of 20,000 names takes long
        if match := _NAME.fullmatch(name):
            found[match[2]].add(int(match[1]))
    return found["npy"] & found["parquet"]


def write_shard(folder: Path, number: int, entries: Entries, *, embedding_size: int) -> Shard:
    """Write up to 512 entries; the table comes last, and without it the vectors count as absent."""
    vectors = [value for value in entries.values() if not isinstance(value, str)]
    rows = iter(range(len(vectors)))
    reasons = [value if isinstance(value, str) else None for value in entries.values()]
    table = pa.table(
        {
            "sha256": pa.array([digest for digest, _ in entries], type=pa.binary(DIGEST_BYTES)),
            "view": pa.array([view for _, view in entries], pa.string()).dictionary_encode(),
            "row": pa.array([next(rows) if one is None else -1 for one in reasons], pa.int32()),
            "reason": pa.array(reasons, pa.string()),
        },
        schema=_SCHEMA,
    )
    array = np.array(vectors, dtype=np.float32).reshape(len(vectors), embedding_size)
    with atomic_file(_vectors_path(folder, number)) as temporary, temporary.open("wb") as stream:
        np.save(stream, array)
    with atomic_file(_table_path(folder, number)) as temporary:
        # Digests are random bytes: no compression makes them smaller.
        pq.write_table(table, temporary, compression="none", use_dictionary=["view"])
    return _shard(number, table)


def read_shard(folder: Path, number: int) -> Shard:
    """Return what a shard holds, without its vectors.

    Raises:
        FileNotFoundError: There is no such shard any more.
        DataError: The table is damaged.
    """
    path = _table_path(folder, number)
    try:
        with pq.ParquetFile(path) as file:
            return _shard(number, file.read(columns=_SCHEMA.names, use_threads=False))
    except (FileNotFoundError, PermissionError):
        raise
    except (pa.ArrowException, KeyError, OSError) as error:
        raise _damaged(path, str(error)) from None


def open_vectors(folder: Path, number: int, *, embedding_size: int) -> NDArray[np.float32]:
    """Return the vectors ``(n, d)`` of a shard as a read-only memory map.

    Raises:
        FileNotFoundError: There is no such shard any more.
        DataError: The file is damaged.
    """
    path = _vectors_path(folder, number)
    try:
        vectors: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise _damaged(path, str(error)) from None
    if vectors.ndim != 2 or vectors.shape[1] != embedding_size or vectors.dtype != np.float32:
        expected = f"expected float32 of {embedding_size} dimensions"
        raise _damaged(path, f"{expected}, got {vectors.dtype} of shape {vectors.shape}")
    return vectors


def read_entries(folder: Path, number: int, *, embedding_size: int) -> dict[EntryKey, Vector | str]:
    """Return all entries of a shard, copied from its files."""
    shard = read_shard(folder, number)
    vectors = np.array(open_vectors(folder, number, embedding_size=embedding_size))
    entries: dict[EntryKey, Vector | str] = {
        (bytes.fromhex(digest), None): reason for digest, reason in shard.broken.items()
    }
    for view, (digests, rows) in shard.views.items():
        for digest, row in zip(digests.tolist(), rows.tolist(), strict=True):
            entries[digest.ljust(DIGEST_BYTES, b"\0"), view] = vectors[row]
    return entries


def remove_shard(folder: Path, number: int) -> None:
    """Remove a shard whose entries are in a later one; without either file it is none."""
    for path in (_table_path(folder, number), _vectors_path(folder, number)):
        _remove(path)


def remove_remains(folder: Path) -> None:
    """Remove what a killed writer left: half a shard, and temporary files.

    Only who holds the store's lock may call it.
    """
    numbers = shard_numbers(folder)
    for path in folder.iterdir():
        match = _NAME.fullmatch(path.name)
        if (match and int(match[1]) not in numbers) or _TEMPORARY.fullmatch(path.name):
            _remove(path)


def _remove(path: Path) -> None:
    # Windows keeps what another process is reading; the entries are superseded, not in the way.
    with suppress(PermissionError):
        path.unlink(missing_ok=True)


def _shard(number: int, table: pa.Table) -> Shard:
    columns = table.select(_SCHEMA.names).cast(_SCHEMA).combine_chunks()
    digests = _digests(columns["sha256"])
    rows = columns["row"].to_numpy().astype(np.int64)
    views = pa.chunked_array(columns["view"]).combine_chunks()
    codes = views.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    broken = np.flatnonzero(rows < 0)
    reasons = columns["reason"].take(broken).to_pylist()
    names = [unpack_digest(digest) for digest in digests[broken].tolist()]
    return Shard(
        number=number,
        views={
            name: (digests[codes == code], rows[codes == code])
            for code, name in enumerate(views.dictionary.to_pylist())
        },
        broken=dict(zip(names, reasons, strict=True)),
        entries=len(rows),
    )


def _digests(column: pa.ChunkedArray) -> Digests:
    array = column.combine_chunks()
    dtype = f"S{DIGEST_BYTES}"
    if not len(array):
        return np.empty(0, dtype)
    start = array.offset * DIGEST_BYTES
    return np.frombuffer(array.buffers()[1], dtype, count=len(array), offset=start)


def _vectors_path(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.npy"


def _table_path(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.parquet"


def _damaged(path: Path, why: str) -> DataError:
    vectors, table = path.with_suffix(".npy").name, path.with_suffix(".parquet").name
    return DataError(
        f"{path} is damaged ({' '.join(why.split())[:200]}): remove {vectors} and {table} there, "
        "and their photos are embedded again."
    )
