"""How common the taxa of a region are, as a species list with weights has it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from taxonet.errors import ConfigError, TaxonomyError, did_you_mean
from taxonet.taxonomy import Taxonomy, clean_name, fold_name


def read_species_weights(path: Path, column: str) -> dict[str, float]:
    """Read the weight of each name: the first column of a CSV has names, ``column`` weights.

    Weights may be anything that is in proportion to how common the taxa are, such as numbers of
    occurrences. Those of a name in several rows add up.

    Raises:
        ConfigError: The file has no such column.
        TaxonomyError: The file cannot be read as a table, or a weight is no number of at least 0.
    """
    try:
        table = pd.read_csv(path, dtype=str, encoding="utf-8-sig", keep_default_na=False)
    except ValueError as error:  # UnicodeDecodeError, and what pandas raises
        raise TaxonomyError(f"The species list {path} cannot be read as a CSV: {error}.") from None
    if column not in table:
        columns = [str(name) for name in table.columns]
        raise ConfigError(
            f"The species list {path} has no column {column!r}.{did_you_mean(column, columns)} "
            f"Columns: {', '.join(columns)}."
        )
    weights: dict[str, float] = {}
    pairs = zip(table.iloc[:, 0].map(clean_name), table[column], strict=True)
    for row, (name, text) in enumerate(pairs, start=2):
        if not name:
            continue
        try:
            weight = float(text)
        except ValueError:
            weight = float("nan")
        if not 0 <= weight < float("inf"):
            raise TaxonomyError(
                f"The weight of {name!r} in row {row} of {path} is {text!r}; expected a number of "
                "at least 0."
            )
        weights[name] = weights.get(name, 0.0) + weight
    return weights


def weights_of_classes(
    taxonomy: Taxonomy,
    class_nodes: NDArray[np.int64],
    weights: Mapping[str, float],
    *,
    source: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the prior of each class, ``(c,)``, from the weights of names.

    The weight of a taxon above several classes is divided among them as their priors in
    ``source`` are. Names that the tree does not know, or without a class below, are left out.

    Args:
        taxonomy: The classifier's tree.
        class_nodes: Node of each class, ``(c,)``.
        weights: The weight of each name.
        source: Prior of each class behind the classifier's probabilities, ``(c,)``.

    Raises:
        TaxonomyError: No class gets any weight.

    Examples:
        >>> tree = Taxonomy.from_edges([("Rosa", "Rosa canina"), ("Rosa", "Rosa gallica")])
        >>> listed = {"Rosa canina": 6.0, "Rosa": 8.0}
        >>> weights_of_classes(tree, tree.leaves, listed, source=np.array([0.75, 0.25]))
        array([12.,  2.])
    """
    listed: dict[str, float] = {}
    for name, weight in weights.items():
        listed[fold_name(name)] = listed.get(fold_name(name), 0.0) + weight
    below: dict[str, set[int]] = {name: set() for name in listed}
    names = [fold_name(name) for name in taxonomy.names]
    for place, node in enumerate(class_nodes.tolist()):
        for above in taxonomy.ancestors(node).tolist():
            if names[above] in below:
                below[names[above]].add(place)
    found = np.zeros(len(class_nodes))
    for name, places in below.items():
        if places:
            some = sorted(places)
            found[some] += listed[name] * source[some] / source[some].sum()
    if not found.any():
        raise TaxonomyError(
            f"None of the {len(weights)} names of the species list gives weight to a taxon of this "
            "classifier. Expected scientific names in the first column, and weights above 0."
        )
    return found
