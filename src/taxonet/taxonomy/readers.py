"""Taxonomies from tables of ranks and from edge lists, with errors that name the row."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from taxonet.errors import TaxonomyError
from taxonet.taxonomy.draft import Draft
from taxonet.taxonomy.tables import Table, TableSource, read

ROOT_NAME = "root"
LABEL_COLUMN = "label"

LADDER = (
    "domain",
    "kingdom",
    "subkingdom",
    "phylum",
    "division",
    "subphylum",
    "class",
    "subclass",
    "superorder",
    "order",
    "suborder",
    "superfamily",
    "family",
    "subfamily",
    "tribe",
    "subtribe",
    "genus",
    "subgenus",
    "section",
    "series",
    "species",
    "subspecies",
    "variety",
    "form",
    "cultivar",
)
"""The ranks that are looked for where none are given, coarse to fine."""


def read_table(
    source: TableSource, *, ranks: Sequence[str] | None = None, label: str | None = None
) -> Draft:
    """Read a table with one column a rank; see :meth:`Taxonomy.from_table` for its rules."""
    table = read(source, has_header=lambda _: True)
    columns = rank_columns(table, ranks)
    label = label_column(table, columns, label)
    vocabulary = {ROOT_NAME: 0}
    codes = [table.encode(column, vocabulary) for column in columns.values()]
    names = list(vocabulary)

    row_node = np.zeros(len(table.frame), dtype=np.int64)  # the deepest node of each row so far
    name_codes, parents, rank = [np.array([0])], [np.array([-1])], [np.array([-1])]
    first_row = [np.array([0])]
    count = 1
    for level, cells in enumerate(codes):
        filled = np.flatnonzero(cells >= 0)
        # A node is its path: the node that the row has reached, and one more name.
        keys = row_node[filled] * len(names) + cells[filled]
        nodes, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        parents.append(nodes // len(names))
        name_codes.append(nodes % len(names))
        rank.append(np.full(len(nodes), level))
        first_row.append(filled[first])
        row_node[filled] = count + inverse
        count += len(nodes)
    _check_rows(table, row_node, list(columns))
    rows = np.concatenate(first_row)
    draft = Draft(
        names=[names[code] for code in np.concatenate(name_codes)],
        parents=np.concatenate(parents),
        ranks=tuple(columns),
        rank=np.concatenate(rank),
        origin=lambda node: table.row(int(rows[node])),
    )
    return draft if label is None else _with_labels(draft, table, label, row_node)


def is_edge_list(source: TableSource) -> bool:
    """Say whether a file has the columns ``parent`` and ``child``."""
    table = read(source, has_header=lambda _: True)
    return {"parent", "child"} <= {str(column) for column in table.frame.columns}


def read_edges(source: TableSource | Iterable[tuple[str, str]]) -> Draft:
    """Read a list of parent-child edges; see :meth:`Taxonomy.from_edges` for its rules."""
    if isinstance(source, str | os.PathLike | pd.DataFrame):
        table = read(source, has_header=lambda cells: {"parent", "child"} <= set(cells))
    else:
        pairs = pd.DataFrame(list(source), dtype=object)
        pairs.index += 1
        table = read(pairs, has_header=lambda _: True)
    columns = [str(column) for column in table.frame.columns]
    if {"parent", "child"} <= set(columns):
        columns = ["parent", "child"]
    elif len(columns) != 2:
        raise TaxonomyError(
            f"{table.source} is no edge list: expected the columns parent and child, or two "
            f"columns without a header, but it has {len(columns)}: {', '.join(columns)}."
        )
    vocabulary: dict[str, int] = {}
    parent, child = (table.encode(column, vocabulary) for column in columns)
    names = list(vocabulary)
    _check_edges(table, parent, child, names)

    parents = np.full(len(names), -1)
    parents[child] = parent
    mentions = np.concatenate((child, parent))  # where a node is a child tells most about it
    first = np.unique(mentions, return_index=True)[1] % len(child)
    return Draft(
        names=names,
        parents=parents,
        ranks=(),
        rank=np.full(len(names), -1),
        origin=lambda node: table.row(int(first[node])),
    )


def rank_columns(table: Table, ranks: Sequence[str] | None) -> dict[str, str]:
    """Return the ranks of a table, coarse to fine, and the columns that hold them.

    Args:
        table: The table.
        ranks: The columns to take, coarse to fine. By default those of the known ladder that the
            table has, upper or lower case.

    Raises:
        TaxonomyError: A column is missing, the ranks are out of order or repeat, or the table
            has no column of the ladder.
    """
    if ranks is None:
        by_name = {str(column).casefold(): str(column) for column in table.frame.columns}
        found = {rank: by_name[rank] for rank in LADDER if rank in by_name}
        if not found:
            columns = ", ".join(map(str, table.frame.columns))
            raise TaxonomyError(
                f"{table.source} has no column of a known rank ({', '.join(LADDER)}), but has: "
                f"{columns}. Name its rank columns, coarse to fine, as ranks."
            )
        return found
    if not ranks or len(set(ranks)) < len(ranks) or LABEL_COLUMN in ranks:
        raise TaxonomyError(
            f"Expected different rank columns, none called {LABEL_COLUMN!r}, but got: "
            f"{', '.join(ranks) or 'none'}."
        )
    known = [rank for rank in ranks if rank in LADDER]
    for coarse, fine in pairwise(known):
        if LADDER.index(coarse) > LADDER.index(fine):
            raise TaxonomyError(f"Ranks go from coarse to fine, but {coarse!r} is before {fine!r}.")
    for rank in ranks:
        table.column(rank)
    return {rank: rank for rank in ranks}


def label_column(table: Table, ranks: Iterable[str], label: str | None) -> str | None:
    """Return the column of training labels: the one asked for, else ``label`` if there is one."""
    if label is None:
        return LABEL_COLUMN if LABEL_COLUMN in table.frame.columns else None
    if label in ranks:
        raise TaxonomyError(f"Column {label!r} of {table.source} cannot be label and rank in one.")
    table.column(label)
    return label


def _check_rows(table: Table, row_node: NDArray[np.int64], ranks: list[str]) -> None:
    empty = np.flatnonzero(row_node == 0)
    if len(empty):
        more = f" (and {len(empty) - 1} more such rows)" if len(empty) > 1 else ""
        raise TaxonomyError(
            f"Expected a name in at least one of {', '.join(ranks)}, but all are empty in "
            f"{table.row(int(empty[0]))}{more}. Fill in the row or remove it."
        )


def _with_labels(draft: Draft, table: Table, label: str, row_node: NDArray[np.int64]) -> Draft:
    vocabulary: dict[str, int] = {}
    codes = table.encode(label, vocabulary)
    rows = np.flatnonzero(codes >= 0)
    first_row = rows[np.unique(codes[rows], return_index=True)[1]]
    conflicts = rows[row_node[rows] != row_node[first_row[codes[rows]]]]
    names = list(vocabulary)
    if len(conflicts):
        row = int(conflicts[0])
        first = int(first_row[codes[row]])
        more = f" {len(conflicts) - 1} more rows conflict." if len(conflicts) > 1 else ""
        raise TaxonomyError(
            f"Conflicting rows: the label {names[codes[row]]!r} is "
            f"{draft.path(int(row_node[first]))!r} in {table.row(first)}, but "
            f"{draft.path(int(row_node[row]))!r} in {table.row(row)}. A label has one taxon.{more}"
        )
    labels = dict(zip(names, row_node[first_row].tolist(), strict=True))
    return replace(draft, labels=labels)


def _check_edges(
    table: Table, parent: NDArray[np.int64], child: NDArray[np.int64], names: list[str]
) -> None:
    for side, codes in (("parent", parent), ("child", child)):
        if (codes < 0).any():
            where = table.row(int(np.argmin(codes)))
            raise TaxonomyError(f"The name of the {side} is empty in {where}.")
    loops = np.flatnonzero(parent == child)
    if len(loops):
        name = names[child[loops[0]]]
        raise TaxonomyError(f"{name!r} is its own parent in {table.row(int(loops[0]))}.")
    first_row = np.unique(child, return_index=True)[1]
    code_row = np.zeros(len(names), dtype=np.int64)
    code_row[child[first_row]] = first_row
    second = np.flatnonzero(parent != parent[code_row[child]])
    if len(second):
        row = int(second[0])
        first = int(code_row[child[row]])
        raise TaxonomyError(
            f"{names[child[row]]!r} has two parents: {names[parent[first]]!r} in "
            f"{table.row(first)}, and {names[parent[row]]!r} in {table.row(row)}. In an edge list "
            "a name is one node: remove one edge, or use a table, where a node is its path."
        )
