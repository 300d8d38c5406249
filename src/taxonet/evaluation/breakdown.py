"""Figures of a judgement for every value of a column of the photos: by region, by month."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from taxonet.data.table import ImageTable
from taxonet.errors import ConfigError, DataError, did_you_mean
from taxonet.evaluation.judge import IntArray, LevelCounts, best_places
from taxonet.metrics import HitCounts, accuracy, macro_recall

NO_VALUE = "(none)"
"""What photos without a value are under."""
_MONTH, _DATE = "month", "date"


class Breakdown:
    """Counts hits at every level, and divides them by the values of columns at the end.

    Two numbers are kept for each photo and level, whatever the number of values.

    Args:
        levels: The levels of the judgement; their counts are not used.
        table: The photos that are judged.
        columns: Columns of the table; ``month`` is made of ``date`` where the table has none.

    Raises:
        ConfigError: A column that the table does not have; the message names the nearest.
        DataError: Months are asked for, and no date begins with a year and a month.
    """

    def __init__(
        self, levels: Mapping[str, LevelCounts], table: ImageTable, columns: Sequence[str]
    ) -> None:
        self._levels = levels
        self._values = {column: _values_of(table, column) for column in dict.fromkeys(columns)}
        self._rows: list[IntArray] = [np.zeros(0, dtype=np.int64)]
        self._hits: dict[str, list[tuple[IntArray, IntArray]]] = {name: [] for name in levels}

    def add(self, rows: IntArray, truth: IntArray, probs: Tensor, node_probs: Tensor) -> None:
        """Count a batch; see `Watcher`."""
        self._rows.append(rows)
        for name, level in self._levels.items():
            best = best_places(level.probs_of(name, probs, node_probs))[:, 0].numpy()
            self._hits[name].append((level.places_of(truth), best))

    def figures(self) -> dict[str, dict[str, Any]]:
        """Return the figures of each value of each column; photos that were broken do not count.

        They are ``images``, and for each level ``images``, ``taxa`` (those with photos),
        ``rank1`` and ``macro_recall``.
        """
        rows = np.concatenate(self._rows)
        hits = {
            name: tuple(np.concatenate(part) for part in zip(*pairs, strict=True))
            for name, pairs in self._hits.items()
            if pairs
        }
        found: dict[str, dict[str, Any]] = {}
        for column, values in self._values.items():
            of_photo = values[rows]
            found[column] = {
                str(value): self._figures_of(hits, of_photo == value)
                for value in np.unique(of_photo)
            }
        return found

    def _figures_of(self, hits: Mapping[str, tuple[IntArray, ...]], chosen: Any) -> dict[str, Any]:
        levels = {}
        for name, (truth, best) in hits.items():
            known = chosen & (truth >= 0)
            counts = HitCounts(len(self._levels[name].nodes))
            counts.update(truth[known], truth[known] == best[known])
            levels[name] = {
                "images": int(counts.images.sum()),
                "taxa": int(np.count_nonzero(counts.images)),
                "rank1": accuracy(counts),
                "macro_recall": macro_recall(counts),
            }
        return {"images": int(chosen.sum()), "levels": levels}


def has_column(table: ImageTable, column: str) -> bool:
    """Say whether photos can be divided by a column.

    Examples:
        >>> frame = pd.DataFrame({"image": ["a"], "taxon": ["x"], "date": ["2024-05-01"]})
        >>> has_column(ImageTable(frame), "month"), has_column(ImageTable(frame), "region")
        (True, False)
    """
    return column in table.frame or (column == _MONTH and _DATE in table.frame)


def _values_of(table: ImageTable, column: str) -> Any:
    """Return the value of each photo as text, ``(N,)``."""
    if not has_column(table, column):
        columns = [str(name) for name in table.frame.columns]
        raise ConfigError(
            f"The photos have no column {column!r}.{did_you_mean(column, columns)} Columns: "
            f"{', '.join(columns)}."
        )
    if column in table.frame:
        values = table.frame[column]
    else:
        # Dates are as in ISO 8601 and Darwin Core; 03/05/2024 has its month who knows where.
        values = table.frame[_DATE].astype("string").str.extract(r"^\s*\d{4}-(\d{2})\b")[0]
        if values.isna().all():
            raise DataError(
                "Months come from dates such as 2024-05-31, and none of the photos has one "
                f"(first: {table.frame[_DATE].iloc[0]!r}). Write dates so, or a column month."
            )
    texts = [_text(value) for value in values]
    return np.array(texts, dtype=object)


def _text(value: Any) -> str:
    if pd.isna(value):
        return NO_VALUE
    # Numbers are floats where one of them is missing.
    return f"{value:g}" if isinstance(value, float) else str(value)
