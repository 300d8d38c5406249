"""Macro recall at genus and species by the protocol of TaxoNet's Table 5."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from taxonet.benchmark.chat.judged import LEVELS, IntArray
from taxonet.data.long_tail import SHOT_GROUPS, shot_groups
from taxonet.metrics import ConfusionCounts, recall_by_group, summarise_recall
from taxonet.taxonomy import Taxonomy

Figures = dict[str, Any]


def level_figures(
    truth: Mapping[str, IntArray],
    named: Mapping[str, IntArray],
    taxonomy: Taxonomy,
    *,
    train_counts: IntArray | None = None,
    few_below: int = 50,
    many_above: int = 500,
) -> dict[str, Figures]:
    r"""Return recall at genus and species, over all taxa and by shot group.

    $$\text{macro recall} = \frac{1}{c} \sum_k \frac{h_k}{n_k}$$

    over the c taxa of the rank that have photos here, of which $h_k$ of $n_k$ are named right. A
    photo without a name is a miss.

    Args:
        truth: For each rank the true node of each photo, ``(N,)``; -1 leaves a photo out.
        named: For each rank the node that is named, ``(N,)``; -1 for none.
        taxonomy: The tree.
        train_counts: Training photos at or below each node, ``(n,)``; without them there are no
            groups. A genus is in the group of its own count, the sum over its species.
        few_below: A taxon with fewer training photos is ``few``.
        many_above: A taxon with more is ``many``, all between ``medium``.

    Returns:
        For each rank the fields of `RecallSummary`, and under ``shot_groups`` the same by group.

    Reference:
        TaxoNet, Table 5: head is over 500, between 50 to 500, tail under 50 training images.

    Examples:
        >>> import pandas as pd
        >>> rows = {"genus": ["Acer", "Acer"], "species": ["Acer mono", "Acer rubrum"]}
        >>> tree = Taxonomy.from_table(pd.DataFrame(rows))  # nodes 1, and 2 and 3
        >>> truth = {"genus": np.array([1, 1, 1]), "species": np.array([2, 2, 3])}
        >>> named = {"genus": np.array([1, 1, -1]), "species": np.array([2, 3, -1])}
        >>> found = level_figures(truth, named, tree)
        >>> round(found["genus"]["macro_recall"], 3), found["species"]["macro_recall"]
        (0.667, 0.25)
    """
    found = {}
    for rank in LEVELS:
        nodes = taxonomy.at_rank(rank)
        judged = truth[rank] >= 0
        counts = ConfusionCounts(len(nodes))
        counts.update(_places(truth[rank][judged], nodes), _places(named[rank][judged], nodes))
        found[rank] = asdict(summarise_recall(counts))
        if train_counts is not None:
            groups = shot_groups(train_counts[nodes], few_below=few_below, many_above=many_above)
            by_group = recall_by_group(counts, groups.tolist(), order=SHOT_GROUPS)
            found[rank]["shot_groups"] = {name: asdict(one) for name, one in by_group.items()}
    return found


def _places(wanted: IntArray, nodes: IntArray) -> IntArray:
    """Return the place of each node among the ascending nodes of its rank; -1 stays -1."""
    return np.where(wanted < 0, -1, np.searchsorted(nodes, wanted))
