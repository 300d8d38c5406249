"""Scores of photos as a file that holds all that a decision needs, without the classifier."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from taxonet.classifier.naming import Circumstances
from taxonet.classifier.rows import NODE_PROBS, Row
from taxonet.errors import DataError
from taxonet.files import atomic_file
from taxonet.taxonomy import Taxonomy

IntArray = NDArray[np.int64]

_FORMAT = 1
_HEADER = b"taxonet.scores"
_AT_ONCE = 256  # photos whose probabilities of all nodes are in memory at a time
_SCHEMA = pa.schema(
    [
        ("image", pa.string()),
        ("noveltyScore", pa.float64()),
        ("nodes", pa.list_(pa.int32())),
        ("probabilities", pa.list_(pa.float64())),
        ("error", pa.string()),
    ]
)


@dataclass(frozen=True)
class ScoreHeader:
    """What the scores of a file are of.

    Attributes:
        taxonomy: The classifier's tree; scores are of its nodes.
        class_nodes: Node of each class, ``(c,)``.
        class_counts: Training photos of each class, ``(c,)``.
        probs_from: Nodes of a smaller probability, and of 0, were left out.
        novelty_threshold: A photo is unknown where its novelty score is above it; None: never.
        probabilities: The `fingerprint` of the classifier.
        made_with: What else they were made with.
    """

    taxonomy: Taxonomy
    class_nodes: IntArray
    class_counts: IntArray
    probs_from: float
    novelty_threshold: float | None
    probabilities: str
    made_with: Circumstances

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        taxonomy = self.taxonomy
        frame = taxonomy.to_table() if taxonomy.ranks else taxonomy.to_edges()
        return {
            "format": _FORMAT,
            "ranks": taxonomy.ranks,
            "taxonomy": frame.to_dict("list"),
            "class_nodes": self.class_nodes.tolist(),
            "class_counts": self.class_counts.tolist(),
            "probs_from": self.probs_from,
            "novelty_threshold": self.novelty_threshold,
            "probabilities": self.probabilities,
            "made_with": asdict(self.made_with),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ScoreHeader":
        """Return the header that `to_dict` described."""
        frame, ranks = pd.DataFrame(values["taxonomy"], dtype=object), tuple(values["ranks"])
        return cls(
            Taxonomy.from_table(frame, ranks=ranks) if ranks else Taxonomy.from_edges(frame),
            np.array(values["class_nodes"], dtype=np.int64),
            np.array(values["class_counts"], dtype=np.int64),
            values["probs_from"],
            values["novelty_threshold"],
            values["probabilities"],
            Circumstances(**values["made_with"]),
        )


class ScoredPhotos(NamedTuple):
    """A few photos of the file, in order."""

    images: list[str]
    errors: dict[int, str]
    """Place in ``images`` of each unreadable photo, with the reason."""
    novelty: Tensor
    """Novelty of the readable photos, ``(G,)``."""
    node_probs: Tensor
    """Their node probabilities, float64 ``(G, n)``: 0 at the root and where left out."""


def write_scores(rows: Iterable[Row], header: ScoreHeader, out: Path) -> None:
    """Write rows that hold their likely nodes (`NODE_PROBS`), whole or not at all."""
    schema = _SCHEMA.with_metadata({_HEADER: json.dumps(header.to_dict()).encode()})
    rows = iter(rows)
    with atomic_file(out) as path, pq.ParquetWriter(path, schema) as writer:
        while group := [_line(row) for row in islice(rows, _AT_ONCE)]:
            writer.write_table(pa.Table.from_pylist(group, schema=schema))


class ScoreTable:
    """Scores of photos on disk, opened.

    Args:
        path: A file of `write_scores`.

    Attributes:
        header: What the scores are of.

    Raises:
        DataError: The file cannot be read, or is none of these.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = pq.ParquetFile(path)
            values = json.loads((self._file.schema_arrow.metadata or {})[_HEADER])
        except (OSError, pa.ArrowException, KeyError, ValueError) as error:
            raise DataError(
                f"{path} cannot be read as scores ({error}): write them with `taxonet predict "
                "--scores FILE.parquet`."
            ) from None
        if values.get("format") != _FORMAT:
            raise DataError(
                f"{path} has scores of format {values.get('format')!r}, and this version reads "
                f"format {_FORMAT}: write them anew with `taxonet predict --scores`."
            )
        self.header = ScoreHeader.from_dict(values)

    def __iter__(self) -> Iterator[ScoredPhotos]:
        """Yield the photos, some at a time."""
        for batch in self._file.iter_batches(batch_size=_AT_ONCE):
            errors = {
                place: text
                for place, text in enumerate(batch["error"].to_pylist())
                if text is not None
            }
            readable = [place for place in range(len(batch)) if place not in errors]
            novelty = batch["noveltyScore"].take(pa.array(readable, pa.int64()))
            yield ScoredPhotos(
                batch["image"].to_pylist(),
                errors,
                torch.from_numpy(novelty.to_numpy().copy()),
                self._dense(batch)[readable],
            )

    def _dense(self, batch: pa.RecordBatch) -> Tensor:
        probs = torch.zeros(len(batch), len(self.header.taxonomy), dtype=torch.float64)
        counts = batch["nodes"].value_lengths().fill_null(0).to_numpy()
        row = torch.from_numpy(np.repeat(np.arange(len(batch)), counts))
        node = torch.from_numpy(batch["nodes"].flatten().to_numpy().astype(np.int64))
        probs[row, node] = torch.from_numpy(batch["probabilities"].flatten().to_numpy().copy())
        return probs


def _line(row: Row) -> dict[str, Any]:
    found = row.get(NODE_PROBS) or []
    return {
        "image": row["image"],
        "noveltyScore": row["noveltyScore"],
        "nodes": [node for node, _ in found],
        "probabilities": [probability for _, probability in found],
        "error": row["error"],
    }
