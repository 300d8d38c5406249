"""Taxonomies back to tables and edge lists, so that reading gives the same taxonomy again."""

import gzip
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from taxonet.errors import TaxonomyError
from taxonet.files import atomic_file
from taxonet.taxonomy.readers import LABEL_COLUMN, ROOT_NAME
from taxonet.taxonomy.tables import separator

if TYPE_CHECKING:
    from taxonet.taxonomy.tree import Taxonomy


def to_table(taxonomy: "Taxonomy") -> pd.DataFrame:
    """Return a taxonomy as a table; see :meth:`Taxonomy.to_table`."""
    _check_table(taxonomy)
    labels = pd.Series(dict(sorted(taxonomy.labels.items())), dtype="int64")
    bare = np.setdiff1d(taxonomy.leaves, labels.to_numpy())
    nodes = np.concatenate((labels.to_numpy(), bare))
    texts = np.concatenate((labels.index.to_numpy(object), np.full(len(bare), None)))
    order = np.argsort(nodes, kind="stable")
    names = np.array([*taxonomy.names, None], dtype=object)  # the last stands for node -1
    columns = {LABEL_COLUMN: texts[order]} if taxonomy.labels else {}
    for rank in taxonomy.ranks:
        columns[rank] = names[taxonomy.ancestor_at_rank(nodes[order], rank)]
    return pd.DataFrame(columns)


def to_edges(taxonomy: "Taxonomy") -> pd.DataFrame:
    """Return a taxonomy as an edge list; see :meth:`Taxonomy.to_edges`."""
    if len(taxonomy) == 1:
        raise TaxonomyError("A taxonomy of one node has no edges to write.")
    repeated = next((name for name in taxonomy.names if len(taxonomy.find(name)) > 1), None)
    if repeated is not None:
        paths = " and ".join(repr(taxonomy.path_text(node)) for node in taxonomy.find(repeated)[:2])
        raise TaxonomyError(
            f"In an edge list a name is one node, but {repeated!r} stands for {paths}. Write the "
            "taxonomy as a table."
        )
    names = np.array(taxonomy.names, dtype=object)
    return pd.DataFrame({"parent": names[taxonomy.parent[1:]], "child": names[1:]})


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, TSV or Parquet, by the suffix of the path, atomically."""
    if path.suffix == ".parquet":
        with atomic_file(path) as temporary:
            frame.to_parquet(temporary, index=False)
        return
    content = frame.to_csv(sep=separator(path), index=False, lineterminator="\n").encode()
    if path.suffix == ".gz":
        # A name or time stamp inside would make equal taxonomies unequal files.
        content = gzip.compress(content, mtime=0)
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def _check_table(taxonomy: "Taxonomy") -> None:
    if len(taxonomy) == 1:
        raise TaxonomyError("A taxonomy of one node has no rows to write as a table.")
    if taxonomy.names[0] != ROOT_NAME or taxonomy.rank[0] >= 0:
        raise TaxonomyError(
            f"A table has the unwritten root {ROOT_NAME!r}, but this root is "
            f"{taxonomy.names[0]!r}. Write the taxonomy as an edge list."
        )
    climbs = taxonomy.rank[1:] <= taxonomy.rank[taxonomy.parent[1:]]
    if climbs.any():
        path = taxonomy.path_text(1 + int(np.argmax(climbs)))
        raise TaxonomyError(
            f"In a table each node has a rank finer than its parent's, but {path!r} has not. "
            "Write the taxonomy as an edge list."
        )
