"""Answers within a part of the tree: one family, a regional species list."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from taxonet.errors import TaxonomyError, did_you_mean
from taxonet.taxonomy import Taxonomy


def classes_within(
    taxonomy: Taxonomy, class_nodes: NDArray[np.int64], within: Sequence[str]
) -> NDArray[np.bool_]:
    """Say which classes stand under the taxa that ``rank=name`` strings give.

    Several strings add up: ``genus=Rosa`` and ``genus=Rubus`` allow both genera.

    Raises:
        TaxonomyError: No such rank, or no taxon of that name at that rank.

    Example:
        >>> names = {"genus": ["Rosa", "Acer"], "species": ["Rosa canina", "Acer mono"]}
        >>> tree = Taxonomy.from_table(pd.DataFrame(names))
        >>> classes_within(tree, tree.leaves, ["genus=Rosa"]).tolist()
        [False, True]
    """
    nodes = [node for text in within for node in _nodes_of(taxonomy, text)]
    return _under(taxonomy, class_nodes, nodes)


def classes_listed(
    taxonomy: Taxonomy, class_nodes: NDArray[np.int64], names: Sequence[str]
) -> tuple[NDArray[np.bool_], list[str]]:
    """Say which classes a list of names allows, and which names the tree does not know.

    A name of a genus or family allows all classes below it.

    Raises:
        TaxonomyError: No name of the list is in the tree.
    """
    found = {name: taxonomy.find(name) for name in names}
    unknown = [name for name, nodes in found.items() if len(nodes) == 0]
    allowed = _under(taxonomy, class_nodes, [int(node) for ns in found.values() for node in ns])
    if not allowed.any():
        raise TaxonomyError(
            f"None of the {len(names)} names of the species list is a taxon of this classifier "
            f"(first: {names[0] if names else 'the list is empty'!r}). Expected scientific names, "
            "one a line."
        )
    return allowed, unknown


def read_species_list(path: Path) -> list[str]:
    """Read names: the lines of a text file, or the first column of a CSV with a header."""
    if path.suffix.lower() == ".csv":
        column = pd.read_csv(path, dtype=str, encoding="utf-8-sig").iloc[:, 0]
        return [name.strip() for name in column.dropna() if name.strip()]
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    return [line.strip() for line in lines if line.strip()]


def _nodes_of(taxonomy: Taxonomy, text: str) -> list[int]:
    rank, equals, name = (part.strip() for part in text.partition("="))
    if not equals or not name:
        raise TaxonomyError(f"Expected rank=name, such as family=Rosaceae, got {text!r}.")
    if rank not in taxonomy.ranks:
        raise TaxonomyError(
            f"The taxonomy has no rank {rank!r}.{did_you_mean(rank, taxonomy.ranks)} "
            f"Its ranks: {', '.join(taxonomy.ranks) or 'none'}."
        )
    at_rank = {int(node) for node in taxonomy.at_rank(rank)}
    nodes = [int(node) for node in taxonomy.find(name) if int(node) in at_rank]
    if not nodes:
        known = [str(taxonomy.names[node]) for node in at_rank]
        raise TaxonomyError(f"No {rank} is called {name!r}.{did_you_mean(name, known)}")
    return nodes


def _under(
    taxonomy: Taxonomy, class_nodes: NDArray[np.int64], nodes: Sequence[int]
) -> NDArray[np.bool_]:
    allowed = frozenset(nodes)
    return np.array(
        [not allowed.isdisjoint(taxonomy.ancestors(int(node)).tolist()) for node in class_nodes],
        dtype=bool,
    )
