"""Where nodes and leaves lie when a subtree is one range: the tree in preorder."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from taxonet.taxonomy import Taxonomy


class Places:
    """The index tensors that turn subtrees and children into ranges. Get one with `places_of`.

    Args:
        taxonomy: The tree, of n nodes, c of them leaves.
        device: Where the tensors live.

    Attributes:
        first_child: The children of v are the nodes from item v to before item v + 1 (n + 1,).
        leaves: The node of each column of leaf scores (c,).
        leaves_in_level: For each depth, where its leaves stand among its nodes.
        leaf_first, leaf_stop: The leaves below v, or v itself if it is one, stand at the places
            from ``leaf_first[v]`` to before ``leaf_stop[v]`` of the preorder's leaves (n,) each.
        leaf_at: The column of leaf scores of each such place (c,).
        node_first, node_stop: The same for all nodes of the subtree, v included (n,) each.
        node_at: The node of each such place (n,).
    """

    def __init__(self, taxonomy: Taxonomy, device: torch.device) -> None:
        is_leaf = np.zeros(len(taxonomy), dtype=np.int64)
        is_leaf[taxonomy.leaves] = 1
        sizes = np.ones(len(taxonomy), dtype=np.int64)
        for level in reversed(taxonomy.level_slices[1:]):
            np.add.at(sizes, taxonomy.parent[level], sizes[level])
        leaf_first = _starts(taxonomy, taxonomy.leaf_count, own=0)
        node_first = _starts(taxonomy, sizes, own=1)

        def on_device(values: NDArray[np.int64]) -> Tensor:
            return torch.tensor(values, dtype=torch.int64, device=device)

        parents = taxonomy.parent[1:]
        self.first_child = on_device(1 + np.searchsorted(parents, np.arange(len(taxonomy) + 1)))
        self.leaves = on_device(taxonomy.leaves)
        self.leaves_in_level = [
            on_device(np.flatnonzero(is_leaf[level])) for level in taxonomy.level_slices
        ]
        self.leaf_first = on_device(leaf_first)
        self.leaf_stop = on_device(leaf_first + taxonomy.leaf_count)
        self.leaf_at = on_device(np.argsort(leaf_first[taxonomy.leaves]))
        self.node_first = on_device(node_first)
        self.node_stop = on_device(node_first + sizes)
        self.node_at = on_device(np.argsort(node_first))

    def leaf_columns(self, levels: Sequence[Tensor]) -> Tensor:
        """Return the columns of the leaves ``(B, c)`` from the columns of each depth."""
        leaves = [
            level if len(own) == level.shape[1] else level.index_select(1, own)
            for level, own in zip(levels, self.leaves_in_level, strict=True)
            if len(own) > 0
        ]
        return leaves[0] if len(leaves) == 1 else torch.cat(leaves, dim=1)

    def set_leaf_rows(self, levels: Sequence[Tensor], leaves: Tensor) -> None:
        """Set the rows of each depth: those of the leaves to ``leaves`` ``(c, B)``, others to 0."""
        parts = torch.split(leaves, [len(own) for own in self.leaves_in_level])
        for level, own, part in zip(levels, self.leaves_in_level, parts, strict=True):
            if len(own) == len(level):
                level.copy_(part)
            elif len(own) == 0:
                level.zero_()
            else:
                level.zero_().index_copy_(0, own, part)


@lru_cache(maxsize=16)
def places_of(taxonomy: Taxonomy, device: torch.device) -> Places:
    """Return the places of a taxonomy on a device, made once.

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> places = places_of(tree, torch.device("cpu"))
        >>> places.leaves, places.leaf_at  # c, d, e as columns; d, e, c in preorder
        (tensor([2, 3, 4]), tensor([1, 2, 0]))
        >>> places.leaf_first[1].item(), places.leaf_stop[1].item()  # those below b
        (0, 2)
    """
    # Made under inference mode, they could never again be part of a gradient.
    with torch.inference_mode(False):
        return Places(taxonomy, device)


def _starts(taxonomy: Taxonomy, sizes: NDArray[np.int64], *, own: int) -> NDArray[np.int64]:
    """Return where the range of each subtree starts, its root taking ``own`` places before it."""
    before = np.cumsum(sizes) - sizes
    starts = np.zeros(len(taxonomy), dtype=np.int64)
    for level in taxonomy.level_slices[1:]:
        parents = taxonomy.parent[level]
        eldest = level.start + np.searchsorted(parents, parents)
        starts[level] = starts[parents] + own + before[level] - before[eldest]
    return starts
