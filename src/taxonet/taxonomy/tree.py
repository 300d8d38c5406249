"""The taxonomy: one immutable tree in breadth-first arrays."""

import json
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from taxonet.errors import TaxonomyError, did_you_mean
from taxonet.taxonomy import readers, writers
from taxonet.taxonomy.draft import Draft, breadth_first, check_values
from taxonet.taxonomy.matching import resolve_labels
from taxonet.taxonomy.names import clean_name
from taxonet.taxonomy.shape import TreeShape, read_only
from taxonet.taxonomy.tables import TableSource


@dataclass(frozen=True, eq=False, repr=False)
class Taxonomy(TreeShape):
    """An immutable rooted tree of named taxa. Make one with a ``from_...`` method.

    Nodes are the integers 0 to n - 1 in breadth-first order, siblings sorted by name (Unicode
    code points), so that the order of what was read never matters, parents come before their
    children, each level is one slice and the children of a node are one slice. Leaves may lie at
    any depth. Taxonomies are equal when their content is; all arrays are read-only.

    Args:
        parent: The parent of each node, int32 (n,), -1 for the root, node 0.
        names: The name of each node.
        ranks: Names of the ranks, coarse to fine; may be empty.
        rank: For each node its index into ``ranks``, int32 (n,), -1 where it has none.
        labels: Training labels and the nodes, at any depth, that they stand for.

    Examples:
        >>> table = pd.DataFrame({
        ...     "species": ["Acer rubrum", "Acer mono", "Alnus rubra", ""],
        ...     "genus": ["Acer", "Acer", "Alnus", "Betula"],
        ...     "label": ["red maple", "painted maple", "red alder", "some birch"],
        ... })
        >>> tree = Taxonomy.from_table(table)
        >>> tree
        Taxonomy(7 nodes, 4 leaves, depth 2, ranks genus > species, 4 labels)
        >>> tree.names
        ('root', 'Acer', 'Alnus', 'Betula', 'Acer mono', 'Acer rubrum', 'Alnus rubra')
        >>> tree.leaves, tree.leaf_count
        (array([3, 4, 5, 6]), array([4, 2, 1, 1, 1, 1, 1]))
        >>> tree.information
        array([0., 1., 2., 2., 2., 2., 2.])
        >>> tree.lca([4, 4, 5], [5, 6, 1])
        array([1, 0, 1])
    """

    names: tuple[str, ...]
    ranks: tuple[str, ...]
    rank: NDArray[np.int32]
    labels: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        read_only(self.rank)
        object.__setattr__(self, "labels", MappingProxyType(dict(sorted(self.labels.items()))))

    @classmethod
    def from_table(
        cls,
        source: TableSource,
        *,
        ranks: Sequence[str] | None = None,
        label: str | None = None,
    ) -> Self:
        """Read a table with one column a rank and one row a taxon (or an image).

        A node is its path from the root, so that one name under two parents is two nodes. Empty
        cells are skipped, also in the middle: the name hangs below the next coarser one of its
        row. Names are cleaned (see :func:`clean_name`). A root called ``root`` is added.

        Args:
            source: A CSV, TSV (also .gz) or Parquet file with a header, or a data frame.
            ranks: The rank columns, coarse to fine. By default those that are known ranks
                (kingdom, ..., family, genus, species, ..., cultivar), in whatever order.
            label: The column of training labels; each stands for its row's deepest node. By
                default the column ``label``, where there is one.

        Raises:
            TaxonomyError: A column is missing, a row has no name, one label or path stands for
                two taxa; the message names the rows and values.
        """
        return cls._arranged(readers.read_table(source, ranks=ranks, label=label))

    @classmethod
    def from_file(
        cls,
        path: str | PathLike[str],
        *,
        ranks: Sequence[str] | None = None,
        label: str | None = None,
    ) -> Self:
        """Read a file that is an edge list if its header is ``parent,child``, else a table.

        ``ranks`` and ``label`` are for tables; see :meth:`from_table` and :meth:`from_edges`.
        """
        if readers.is_edge_list(path):
            return cls.from_edges(path)
        return cls.from_table(path, ranks=ranks, label=label)

    @classmethod
    def from_edges(cls, source: TableSource | Iterable[tuple[str, str]]) -> Self:
        """Read a list of (parent, child) edges, in which a node is its name.

        Args:
            source: A CSV, TSV or Parquet file or a frame of two columns, or pairs of names. A
                file may have the header ``parent,child``. Identical edges may repeat.

        Raises:
            TaxonomyError: A cycle, a second parent, a second root, an empty name or a node that
                is its own parent; the message names the row and value.

        Examples:
            >>> Taxonomy.from_edges([("Life", "Plantae"), ("Plantae", "Acer")]).names
            ('Life', 'Plantae', 'Acer')
        """
        return cls._arranged(readers.read_edges(source))

    @classmethod
    def from_parents(
        cls,
        names: Sequence[str],
        parents: ArrayLike,
        *,
        ranks: Sequence[str] = (),
        rank: ArrayLike | None = None,
        labels: Mapping[str, int] | None = None,
    ) -> Self:
        """Make a taxonomy from a parent array in any order.

        Args:
            names: The name of each node.
            parents: The parent of each node (n,), -1 for the root.
            ranks: Names of the ranks, coarse to fine.
            rank: Index of each node into ``ranks`` (n,), -1 where it has none; default all -1.
            labels: Training labels and the nodes, in the given order, that they stand for.

        Raises:
            TaxonomyError: The nodes form no tree, or a name is empty.

        Examples:
            >>> tree = Taxonomy.from_parents(["b", "a", "top"], [2, 2, -1], labels={"x": 0})
            >>> tree.names, dict(tree.labels)
            (('top', 'a', 'b'), {'x': 2})
        """
        draft = Draft(
            names=[clean_name(name) for name in names],
            parents=np.asarray(parents, dtype=np.int64),
            ranks=tuple(ranks),
            rank=np.full(len(names), -1) if rank is None else np.asarray(rank, dtype=np.int64),
            origin=lambda node: f"node {node}",
            labels={clean_name(text): node for text, node in (labels or {}).items()},
        )
        check_values(draft)
        return cls._arranged(draft)

    @classmethod
    def _arranged(cls, draft: Draft) -> Self:
        order = breadth_first(draft)
        place = np.empty(len(order), dtype=np.int32)
        place[order] = np.arange(len(order))
        parent = place[draft.parents[order]]
        parent[0] = -1
        return cls(
            parent=parent,
            names=tuple(draft.names[node] for node in order.tolist()),
            ranks=draft.ranks,
            rank=draft.rank[order].astype(np.int32),
            labels={text: int(place[node]) for text, node in draft.labels.items()},
        )

    def __repr__(self) -> str:
        parts = [
            f"{self.size} nodes",
            f"{len(self.leaves)} leaves",
            f"depth {len(self.level_slices) - 1}",
            f"ranks {' > '.join(self.ranks)}" if self.ranks else "no ranks",
        ]
        if self.labels:
            parts.append(f"{len(self.labels)} labels")
        return f"Taxonomy({', '.join(parts)})"

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content as 64 hexadecimal digits: equal on every machine."""
        texts = json.dumps(["taxonomy 1", self.ranks, self.names, list(self.labels.items())])
        content = sha256(texts.encode())
        content.update(self.parent.astype("<i4").tobytes())
        content.update(self.rank.astype("<i4").tobytes())
        return content.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Taxonomy) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> tuple[Any, ...]:
        # Arrays come back from a pickle writable; the constructor makes them read-only again.
        return type(self), (self.parent, self.names, self.ranks, self.rank, dict(self.labels))

    def path(self, node: int) -> tuple[str, ...]:
        """Return the names on the way to a node, without the root's; empty for the root."""
        return tuple(self.names[i] for i in self.ancestors(node)[-2::-1])

    def path_text(self, node: int) -> str:
        """Return the path joined by slashes, as :meth:`resolve` takes it; the root's own name."""
        return "/".join(self.path(node)) or self.names[0]

    def node(self, path: Sequence[str]) -> int:
        """Return the node of a path of names, the root's left out; ``()`` is the root.

        Raises:
            TaxonomyError: There is no such node; the message gives the nearest name.
        """
        node = 0
        for name in path:
            children = self.children(node)
            place = bisect_left(self.names, name, children.start, children.stop)
            if place == children.stop or self.names[place] != name:
                known = self.names[children.start : children.stop]
                raise TaxonomyError(
                    f"Below {self.path_text(node)!r} there is no {name!r} (path "
                    f"{'/'.join(path)!r}).{did_you_mean(name, known)}"
                )
            node = place
        return node

    def find(self, name: str) -> tuple[int, ...]:
        """Return all nodes of a name, ascending; none is an empty tuple."""
        first = self._first_node.get(name)
        return () if first is None else self._repeats.get(name, (first,))

    @cached_property
    def _first_node(self) -> dict[str, int]:
        return dict(zip(reversed(self.names), reversed(range(self.size)), strict=True))

    @cached_property
    def _repeats(self) -> dict[str, tuple[int, ...]]:
        """The names of several nodes: few, so that a list for every name would be waste."""
        nodes: dict[str, list[int]] = {}
        for node, name in enumerate(self.names):
            if (first := self._first_node[name]) != node:
                nodes.setdefault(name, [first]).append(node)
        return {name: tuple(several) for name, several in nodes.items()}

    def rank_name(self, node: int) -> str | None:
        """Return the rank of a node, or None where it has none."""
        index = int(self.rank[self._nodes(node)])
        return self.ranks[index] if index >= 0 else None

    def at_rank(self, rank: str) -> NDArray[np.int64]:
        """Return the nodes of a rank, ascending."""
        return np.flatnonzero(self.rank == self._rank_index(rank))

    def ancestor_at_rank(self, nodes: ArrayLike, rank: str) -> NDArray[np.int64]:
        """Return the ancestor of each node (or itself) that has a rank, -1 where none has.

        Args:
            nodes: Node indices, any shape.
            rank: One of ``ranks``.
        """
        wanted = self._rank_index(rank)
        climbing = self._nodes(nodes).copy()
        while (passing := (climbing >= 0) & (self.rank[climbing] != wanted)).any():
            climbing = np.where(passing, self.parent[climbing], climbing)
        return climbing

    def resolve(self, labels: Sequence[str]) -> NDArray[np.int64]:
        """Return the node of each training label.

        A label is looked up among ``labels``, then among names that one node has, then as a full
        path ``family/genus/species``, then as another spelling (case, underscores) of exactly one
        label or name; :func:`match_labels` tells which.

        Raises:
            TaxonomyError: Labels match nothing, with near misses, or several nodes, with paths.
        """
        return resolve_labels(labels, self)

    def _rank_index(self, rank: str) -> int:
        if rank not in self.ranks:
            raise TaxonomyError(
                f"The taxonomy has no rank {rank!r}.{did_you_mean(rank, self.ranks)} "
                f"Its ranks: {', '.join(self.ranks) or 'none'}."
            )
        return self.ranks.index(rank)

    def spanned_by(self, nodes: ArrayLike) -> tuple[Self, NDArray[np.int64]]:
        """Return the tree of some nodes and their ancestors, such as that of a classifier's taxa.

        Args:
            nodes: Node indices, any shape and order; repeats count once.

        Returns:
            The smaller tree with the labels of its nodes, and the node here of each node there,
            ascending.

        Examples:
            >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("c", "e")])
            >>> smaller, here = tree.spanned_by([4])
            >>> smaller.names, here
            (('a', 'c', 'e'), array([0, 2, 4]))
        """
        kept = np.zeros(self.size, dtype=bool)
        kept[0] = True
        climbing = np.unique(self._nodes(nodes))
        while climbing.size:
            kept[climbing] = True
            climbing = np.unique(self.parent[climbing])
            climbing = climbing[climbing > 0]
        here = np.flatnonzero(kept)
        place = np.cumsum(kept) - 1
        # Dropping nodes keeps the rest in breadth-first order, siblings by name.
        parent = np.concatenate(([-1], place[self.parent[here[1:]]])).astype(np.int32)
        smaller = type(self)(
            parent=parent,
            names=tuple(self.names[node] for node in here.tolist()),
            ranks=self.ranks,
            rank=self.rank[here],
            labels={text: int(place[node]) for text, node in self.labels.items() if kept[node]},
        )
        return smaller, here

    def to_table(self) -> pd.DataFrame:
        """Return the taxonomy as a table from which :meth:`from_table` makes an equal one.

        There is one row for each label and for each leaf without one, and one column a rank,
        after the column ``label`` where there are labels; missing cells are null.

        Raises:
            TaxonomyError: A table cannot hold this taxonomy: nodes without ranks (edge lists),
                another root's name, or no node but the root.
        """
        return writers.to_table(self)

    def to_edges(self) -> pd.DataFrame:
        """Return the edges as columns ``parent`` and ``child``, without ranks and labels.

        Raises:
            TaxonomyError: A name stands for two nodes, or there is no node but the root.
        """
        return writers.to_edges(self)

    def write_table(self, path: str | PathLike[str]) -> None:
        """Write :meth:`to_table` as .csv, .tsv (also .gz) or .parquet, atomically."""
        writers.write_frame(self.to_table(), Path(path))

    def write_edges(self, path: str | PathLike[str]) -> None:
        """Write :meth:`to_edges` as .csv, .tsv (also .gz) or .parquet, atomically."""
        writers.write_frame(self.to_edges(), Path(path))
