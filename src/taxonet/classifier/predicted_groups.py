"""Groups of images by what is predicted: a decision policy can keep its promise in each."""

from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from taxonet.data.long_tail import SHOT_GROUPS, shot_groups
from taxonet.errors import ConfigError, did_you_mean
from taxonet.taxonomy import Taxonomy

IntArray = NDArray[np.int64]

SHOT_GROUP = "shot_group"
"""Groups by the training photos of the most probable class; any other name is a rank."""


class PredictedGroups:
    """The group of an image, which follows from its most probable class.

    Args:
        taxonomy: The classifier's tree.
        class_nodes: Node of each class, ``(c,)``.
        by: What the groups are called.
        group_of_class: The group of each class, ``(c,)``.
    """

    def __init__(
        self, taxonomy: Taxonomy, class_nodes: IntArray, *, by: str, group_of_class: IntArray
    ) -> None:
        self.by = by
        self._lowest = lowest_classes(taxonomy, class_nodes)
        self._group = np.zeros(len(taxonomy), dtype=np.int64)
        self._group[class_nodes] = group_of_class

    @classmethod
    def of(
        cls,
        group_by: str | None,
        taxonomy: Taxonomy,
        class_nodes: IntArray,
        class_counts: IntArray,
    ) -> Self | None:
        """Return the groups of a name: a rank of the taxonomy, or ``shot_group``; None for None.

        A group by rank is the node of that rank on or above the class, -1 where there is none;
        by shot group it is 0 for many, 1 for medium, 2 for few.

        Raises:
            ConfigError: Neither ``shot_group`` nor a rank of the taxonomy.
        """
        if group_by is None:
            return None
        if group_by == SHOT_GROUP:
            places = [SHOT_GROUPS.index(group) for group in shot_groups(class_counts)]
            return cls(
                taxonomy, class_nodes, by=group_by, group_of_class=np.array(places, dtype=np.int64)
            )
        known = (SHOT_GROUP, *taxonomy.ranks)
        if group_by not in known:
            raise ConfigError(
                f"There are no groups by {group_by!r}.{did_you_mean(group_by, known)} "
                f"Known: {', '.join(known)}."
            )
        above = taxonomy.ancestor_at_rank(class_nodes, group_by)
        return cls(taxonomy, class_nodes, by=group_by, group_of_class=above.astype(np.int64))

    def __call__(self, node_probs: Tensor) -> IntArray:
        """Return the group of each image from its node probabilities ``(B, n)``."""
        return self.of_nodes(most_probable(node_probs, self._lowest))

    def of_nodes(self, best_classes: IntArray) -> IntArray:
        """Return the group of each image from the node of its most probable class, ``(B,)``."""
        return self._group[best_classes]


def lowest_classes(taxonomy: Taxonomy, class_nodes: IntArray) -> IntArray:
    """Return the nodes of the classes that have no other class below them, ascending.

    Examples:
        >>> tree = Taxonomy.from_edges([("root", "Rosa"), ("Rosa", "R. canina"), ("root", "Acer")])
        >>> tree.names
        ('root', 'Acer', 'Rosa', 'R. canina')
        >>> lowest_classes(tree, np.array([1, 2, 3])).tolist()  # of Rosa some photos are known
        [1, 3]
    """
    above = {int(node) for leaf in class_nodes for node in taxonomy.ancestors(int(leaf))[1:]}
    kept = [int(node) for node in class_nodes if int(node) not in above]
    return np.array(kept, dtype=np.int64)


def most_probable(node_probs: Tensor, nodes: IntArray) -> IntArray:
    """Return the most probable of the given nodes for each image, ``(B,)``; of equals the first.

    Args:
        node_probs: Node probabilities ``(B, n)``.
        nodes: The candidates, such as the `lowest_classes`.

    Examples:
        >>> most_probable(torch.tensor([[1.0, 0.25, 0.75, 0.75]]), np.array([1, 3])).tolist()
        [3]
    """
    places = torch.from_numpy(nodes).to(node_probs.device)
    best: IntArray = nodes[node_probs[:, places].argmax(dim=1).cpu().numpy()]
    return best
