"""How new an unknown taxon is: to which rank a classifier could still be right about it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from taxonet.classifier.reading import Reading
from taxonet.data.table import ImageTable
from taxonet.errors import TaxonomyError
from taxonet.taxonomy import Taxonomy, clean_name, match_labels

OTHER = "other"
"""The stratum of photos of which no taxon below the root is known."""


def novelty_strata(table: ImageTable, reading: Reading) -> list[str]:
    """Say of each photo how new its taxon is: by the rank of its deepest known ancestor.

    An ancestor is known if there is a class at or below it. A photo of a new species of a known
    genus is of the stratum ``unknown species of a known genus``, one of a new genus of a known
    family of ``unknown genus of a known family``, and so on; what has no known ancestor below the
    root is ``other``. See `deepest_nodes` for where ancestors come from.

    Args:
        table: Photos of taxa that the classifier lacks.
        reading: Of the classifier; it has the tree and what of it is known.

    Returns:
        One stratum a photo.
    """
    taxonomy, known = reading.taxonomy, np.zeros(len(reading.taxonomy), dtype=bool)
    known[reading.tree_nodes.numpy()] = True
    nodes = deepest_nodes(table, taxonomy)
    while not known[nodes].all():  # the root is known: everything ends there
        nodes = np.where(known[nodes], nodes, taxonomy.parent[nodes])
    names = {int(node): stratum_below(taxonomy, int(node)) for node in np.unique(nodes)}
    return [names[node] for node in nodes.tolist()]


def stratum_below(taxonomy: Taxonomy, node: int) -> str:
    """Name the stratum of unknown taxa whose deepest known ancestor is a node.

    Examples:
        >>> import pandas as pd
        >>> names = {"family": ["Rosaceae"], "genus": ["Rosa"], "species": ["Rosa canina"]}
        >>> tree = Taxonomy.from_table(pd.DataFrame(names))
        >>> for node in range(3):
        ...     stratum_below(tree, node)
        'other'
        'unknown genus of a known family'
        'unknown species of a known genus'
    """
    if node == 0:
        return OTHER
    rank = int(taxonomy.rank[node])
    return _below_depth(int(taxonomy.depth[node])) if rank < 0 else _below_rank(taxonomy, rank)


def strata_in_order(taxonomy: Taxonomy, strata: Sequence[str]) -> list[str]:
    """Return the distinct strata: the least new, of the finest ancestors, first; other last."""
    present = set(strata)
    by_rank = [_below_rank(taxonomy, rank) for rank in reversed(range(len(taxonomy.ranks)))]
    by_depth = [_below_depth(depth) for depth in reversed(range(len(taxonomy.level_slices)))]
    return [stratum for stratum in (*by_rank, *by_depth, OTHER) if stratum in present]


def _below_rank(taxonomy: Taxonomy, rank: int) -> str:
    finer = taxonomy.ranks[rank + 1] if rank + 1 < len(taxonomy.ranks) else "taxon"
    return f"unknown {finer} of a known {taxonomy.ranks[rank]}"


def _below_depth(depth: int) -> str:
    return f"unknown taxon of a known one at depth {depth}"


def deepest_nodes(table: ImageTable, taxonomy: Taxonomy) -> NDArray[np.int64]:
    """Return the deepest node that is told of each photo's taxon; 0, the root, where none is.

    A label may be a name, label or path of the tree. Of a path such as ``Rosaceae/Rosa/Rosa nova``
    the deepest part counts that is in the tree. Otherwise the finest column of the table counts
    that is called after a rank, such as ``genus``, and whose name one taxon of that rank has.
    Nothing is guessed from the form of a name.

    Args:
        table: Photos.
        taxonomy: The classifier's tree.

    Returns:
        Nodes ``(N,)``.

    Examples:
        >>> import pandas as pd
        >>> tree = Taxonomy.from_table(pd.DataFrame({"genus": ["Rosa"], "species": ["R. canina"]}))
        >>> labels = {"image": ["a", "b", "c"], "taxon": ["R. canina", "Rosa/R. nova", "R. nova"]}
        >>> deepest_nodes(ImageTable(pd.DataFrame(labels)), tree).tolist()
        [2, 1, 0]
        >>> genera = {"genus": ["Acer", "Acer", "Rosa"]}
        >>> deepest_nodes(ImageTable(pd.DataFrame(labels | genera)), tree).tolist()
        [2, 1, 1]
    """
    frame = table.frame
    of_label = _nodes_of_labels(sorted(set(frame["taxon"].dropna())), taxonomy)
    nodes = np.array([of_label.get(label, 0) for label in frame["taxon"]], dtype=np.int64)
    for rank in reversed(taxonomy.ranks):
        if rank in frame:
            of_name = _nodes_of_rank(taxonomy, rank)
            named = [of_name.get(_text(name), 0) for name in frame[rank]]
            nodes = np.where(nodes == 0, named, nodes)
    return nodes


def _nodes_of_labels(labels: Sequence[str], taxonomy: Taxonomy) -> dict[str, int]:
    found = {
        match.label: match.nodes[0]
        for match in match_labels(labels, taxonomy).matches
        if match.found
    }
    return {label: found.get(label) or _of_path(label, taxonomy) for label in labels}


def _of_path(label: str, taxonomy: Taxonomy) -> int:
    """Return the deepest node on the way of a path ``a/b/c``; 0 where it is no path."""
    *above, _ = label.split("/")
    for length in range(len(above), 0, -1):
        try:
            return taxonomy.node([clean_name(part) for part in above[:length]])
        except TaxonomyError:
            continue
    return 0


def _nodes_of_rank(taxonomy: Taxonomy, rank: str) -> dict[str, int]:
    """Return the taxa of a rank by name, without names that two of them have."""
    nodes: dict[str, list[int]] = {}
    for node in taxonomy.at_rank(rank).tolist():
        nodes.setdefault(taxonomy.names[node], []).append(node)
    return {name: several[0] for name, several in nodes.items() if len(several) == 1}


def _text(name: object) -> str:
    return clean_name(name) if isinstance(name, str) else ""
