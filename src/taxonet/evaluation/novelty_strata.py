"""How new an unknown taxon is: to which rank a classifier could still be right about it."""

from collections.abc import Sequence

import numpy as np

from taxonet.classifier.reading import Reading
from taxonet.data.matching import unknown_nodes
from taxonet.data.table import ImageTable
from taxonet.taxonomy import Taxonomy

OTHER = "other"
"""The stratum of photos of which no taxon below the root is known."""


def novelty_strata(table: ImageTable, reading: Reading) -> list[str]:
    """Say of each photo how new its taxon is: by the rank of its deepest known ancestor.

    An ancestor is known if there is a class at or below it. A photo of a new species of a known
    genus is of the stratum ``unknown species of a known genus``, one of a new genus of a known
    family of ``unknown genus of a known family``, and so on; what has no known ancestor below the
    root is ``other``. See `taxonet.data.matching.deepest_nodes` for where ancestors come from.

    Args:
        table: Photos of taxa that the classifier lacks.
        reading: Of the classifier; it has the tree and what of it is known.

    Returns:
        One stratum a photo.
    """
    taxonomy = reading.taxonomy
    nodes = unknown_nodes(table, taxonomy, reading.class_nodes)
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
