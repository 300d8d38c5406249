"""Answers within a part of the tree: one family, a regional species list."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from taxonet.errors import TaxonomyError
from taxonet.taxonomy import Taxonomy, lies_under, taxa_named
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
    nodes = [node for text in within for node in taxa_named(taxonomy, text)]
    return lies_under(taxonomy, class_nodes, nodes)


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
    listed = [node for nodes in nodes_of.values() for node in nodes]
    allowed = lies_under(taxonomy, class_nodes, listed)
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
