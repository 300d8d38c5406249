"""Sums over subtrees, in time and memory linear in the number of nodes."""

from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from taxonet.errors import TaxonomyError
from taxonet.taxonomy.tree import Taxonomy


class TreeIndex:
    """The index tensors of one taxonomy on one device. Get one with :func:`tree_index`.

    Args:
        taxonomy: The tree, of n nodes.
        device: Where the tensors live.

    Attributes:
        level_sizes: The number of nodes of each depth.
        parent_in_level: For each depth but the root's, the place of each node's parent within
            the level above, int64.
    """

    def __init__(self, taxonomy: Taxonomy, device: torch.device) -> None:
        levels = taxonomy.level_slices
        self.level_sizes = [level.stop - level.start for level in levels]
        self.parent_in_level = [
            torch.tensor(taxonomy.parent[below] - above.start, dtype=torch.int64, device=device)
            for above, below in pairwise(levels)
        ]


@lru_cache(maxsize=16)
def tree_index(taxonomy: Taxonomy, device: torch.device) -> TreeIndex:
    """Return the index tensors of a taxonomy on a device, made once."""
    return TreeIndex(taxonomy, device)


def sum_up(taxonomy: Taxonomy, values: Tensor) -> Tensor:
    r"""Give every node the sum over its subtree, itself included.

    .. math:: s_v = x_v + \sum_{u \in \text{children}(v)} s_u

    Half-precision values are added in float32 and rounded once, since a small term vanishes
    beside a large sum otherwise.

    Args:
        taxonomy: The tree, of n nodes.
        values: One value a node (B, n), any numeric type and device.

    Returns:
        The sums (B, n), of the same type and device. Differentiable any number of times.

    Raises:
        TaxonomyError: ``values`` is not (B, n).

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d")])
        >>> sum_up(tree, torch.tensor([[1.0, 10.0, 100.0, 1000.0]]))
        tensor([[1111., 1010.,  100., 1000.]])
    """
    if values.ndim != 2 or values.shape[1] != len(taxonomy):
        raise TaxonomyError(
            f"Expected values (B, {len(taxonomy)}), one for each node, but got "
            f"{tuple(values.shape)}."
        )
    if values.dtype in (torch.float16, torch.bfloat16):
        return sum_up(taxonomy, values.float()).to(values.dtype)
    index = tree_index(taxonomy, values.device)
    sums = list(
        torch.split(values, index.level_sizes, dim=1)
    )  # a (B, nodes of the level) for each depth
    for depth in range(len(sums) - 1, 0, -1):
        sums[depth - 1] = sums[depth - 1].index_add(
            1, index.parent_in_level[depth - 1], sums[depth]
        )
    return torch.cat(sums, dim=1)


def class_to_node_probs(taxonomy: Taxonomy, class_nodes: ArrayLike, probs: Tensor) -> Tensor:
    """Give every node the probability of the classes on it and below it.

    Args:
        taxonomy: The tree, of n nodes.
        class_nodes: The node of each class (c,), an array or tensor; classes may sit at internal
            nodes, whose probability then counts there and above.
        probs: Probabilities of the classes (B, c), each row summing to 1.

    Returns:
        Node probabilities (B, n); 1 at the root, 0 where there is no class.

    Raises:
        TaxonomyError: The shapes do not fit, or a class is at no node.

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> class_to_node_probs(tree, [2, 3, 4], torch.tensor([[0.25, 0.25, 0.5]]))
        tensor([[1.0000, 0.7500, 0.2500, 0.2500, 0.5000]])
    """
    # Torch shares no memory with read-only arrays: copy what is no tensor yet.
    given = class_nodes if isinstance(class_nodes, Tensor) else np.array(class_nodes)
    nodes = torch.as_tensor(given, dtype=torch.int64, device=probs.device)
    if nodes.ndim != 1 or probs.ndim != 2 or probs.shape[1] != len(nodes):
        raise TaxonomyError(
            f"Expected class_nodes (c,) and probs (B, c), but got {tuple(nodes.shape)} and "
            f"{tuple(probs.shape)}."
        )
    if len(nodes) == 0 or int(nodes.min()) < 0 or int(nodes.max()) >= len(taxonomy):
        raise TaxonomyError(f"class_nodes must be nodes 0 to {len(taxonomy) - 1}, but got {nodes}.")
    values = probs.new_zeros(probs.shape[0], len(taxonomy)).index_add(1, nodes, probs)
    return sum_up(taxonomy, values)
