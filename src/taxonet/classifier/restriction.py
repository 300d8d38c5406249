"""Answers within a part of the tree: one family, a regional species list."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from taxonet.errors import ConfigError, TaxonomyError, did_you_mean
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.names import clean_name, fold_name


def classes_within(
    taxonomy: Taxonomy, class_nodes: NDArray[np.int64], within: Sequence[str]
) -> NDArray[np.bool_]:
    """Say which classes stand under the taxa that ``rank=name`` strings give.

    Several strings add up: ``genus=Rosa`` and ``genus=Rubus`` allow both genera.

    Raises:
        ConfigError: No such rank, or no taxon of that name at that rank.

    Examples:
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

    A name of a genus or family allows all classes below it, and a name of several taxa allows
    them all. Case, underscores and the form of a hybrid sign may differ from the tree's.

    Raises:
        TaxonomyError: No name of the list stands for a class or a taxon above one.

    Examples:
        >>> tree = Taxonomy.from_edges([("Rosa", "Rosa canina"), ("Rosa", "Rosa gallica")])
        >>> allowed, unknown = classes_listed(tree, tree.leaves, ["rosa_gallica", "Rubus"])
        >>> allowed.tolist(), unknown
        ([False, True], ['Rubus'])
    """
    nodes_of: dict[str, list[int]] = {fold_name(name): [] for name in names}
    for node, name in enumerate(taxonomy.names):
        if (folded := fold_name(name)) in nodes_of:
            nodes_of[folded].append(node)
    unknown = [name for name in names if not nodes_of[fold_name(name)]]
    allowed = _under(taxonomy, class_nodes, [node for nodes in nodes_of.values() for node in nodes])
    if not allowed.any():
        raise TaxonomyError(
            f"None of the {len(names)} names of the species list is a taxon of this classifier "
            f"(first: {names[0] if names else 'the list is empty'!r}). Expected scientific names, "
            "one a line."
        )
    return allowed, unknown


def read_species_list(path: Path) -> list[str]:
    """Read names: the lines of a text file, or the first column of a CSV with a header.

    Raises:
        TaxonomyError: The file is not UTF-8, or no regular table.
    """
    try:
        if path.suffix.lower() == ".csv":
            # Every cell is a name: pandas would take some, such as None, for missing.
            table = pd.read_csv(path, dtype=str, encoding="utf-8-sig", keep_default_na=False)
            lines = table.iloc[:, 0].tolist()
        else:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
    except ValueError as error:  # UnicodeDecodeError, and what pandas raises
        raise TaxonomyError(f"The species list {path} cannot be read: {error}.") from None
    return [name for line in lines if (name := clean_name(line))]


def _nodes_of(taxonomy: Taxonomy, text: str) -> list[int]:
    rank, equals, name = (part.strip() for part in text.partition("="))
    if not equals or not name:
        raise ConfigError(f"Expected rank=name, such as family=Rosaceae, got {text!r}.")
    if rank not in taxonomy.ranks:
        raise ConfigError(
            f"The taxonomy has no rank {rank!r}.{did_you_mean(rank, taxonomy.ranks)} "
            f"Its ranks: {', '.join(taxonomy.ranks) or 'none'}."
        )
    at_rank = {int(node) for node in taxonomy.at_rank(rank)}
    nodes = [int(node) for node in taxonomy.find(name) if int(node) in at_rank]
    if not nodes:
        known = [str(taxonomy.names[node]) for node in at_rank]
        raise ConfigError(f"No {rank} is called {name!r}.{did_you_mean(name, known)}")
    return nodes


def _under(
    taxonomy: Taxonomy, class_nodes: NDArray[np.int64], nodes: Sequence[int]
) -> NDArray[np.bool_]:
    allowed = frozenset(nodes)
    return np.array(
        [not allowed.isdisjoint(taxonomy.ancestors(int(node)).tolist()) for node in class_nodes],
        dtype=bool,
    )
