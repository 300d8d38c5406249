"""Sums, maxima and log-sum-exps up and down the tree, in time and memory linear in its nodes."""

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from taxonet.errors import TaxonomyError
from taxonet.taxonomy.tree import Taxonomy

_HALF = (torch.float16, torch.bfloat16)

#: Joins the values of a level (B, p) with the results below it (B, q), whose parents are (q,).
Join = Callable[[Tensor, Tensor, Tensor], Tensor]


class TreeIndex:
    """The index tensors of one taxonomy on one device. Get one with :func:`tree_index`.

    Args:
        taxonomy: The tree, of n nodes.
        device: Where the tensors live.

    Attributes:
        level_sizes: The number of nodes of each depth.
        parent_in_level: For each depth but the root's, the place of each node's parent within
            the level above, int64.
        parent: The parent of each node, int64 (n,), -1 for the root.
        depth: Edges from the root to each node, int64 (n,).
        leaves: The leaves, ascending, int64 (c,).
        is_leaf: Which nodes are leaves, bool (n,).
    """

    def __init__(self, taxonomy: Taxonomy, device: torch.device) -> None:
        levels = taxonomy.level_slices
        self.level_sizes = [level.stop - level.start for level in levels]
        self.parent_in_level = [
            torch.tensor(taxonomy.parent[below] - above.start, dtype=torch.int64, device=device)
            for above, below in pairwise(levels)
        ]
        self.parent = torch.tensor(taxonomy.parent, dtype=torch.int64, device=device)
        self.depth = torch.tensor(taxonomy.depth, dtype=torch.int64, device=device)
        self.leaves = torch.tensor(taxonomy.leaves, dtype=torch.int64, device=device)
        self.is_leaf = torch.zeros(len(taxonomy), dtype=torch.bool, device=device)
        self.is_leaf[self.leaves] = True


@lru_cache(maxsize=16)
def tree_index(taxonomy: Taxonomy, device: torch.device) -> TreeIndex:
    """Return the index tensors of a taxonomy on a device, made once."""
    # Made under inference mode, they could never again be part of a gradient.
    with torch.inference_mode(False):
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

    def add(above: Tensor, below: Tensor, parents: Tensor) -> Tensor:
        return above.index_add(1, parents, below)

    return _upwards(taxonomy, values, add)


def logsumexp_up(taxonomy: Taxonomy, values: Tensor) -> Tensor:
    r"""Give every node the logarithm of the sum of exponentials over its subtree, itself included.

    .. math:: s_v = \log \Big( e^{x_v} + \sum_{u \in \text{children}(v)} e^{s_u} \Big)

    Nodes that shall not count, such as inner nodes where only leaves have scores, get -inf.

    Args:
        taxonomy: The tree, of n nodes.
        values: One value a node (B, n), any floating type and device; -inf is allowed.

    Returns:
        The result (B, n); -inf where a whole subtree is. Differentiable any number of times; the
        gradient of a value of -inf is 0.

    Raises:
        TaxonomyError: ``values`` is not (B, n).

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d")])
        >>> logsumexp_up(tree, torch.tensor([[0.25, 0.25, 0.25, 0.25]]).log()).exp()
        tensor([[1.0000, 0.5000, 0.2500, 0.2500]])
    """

    def add(above: Tensor, below: Tensor, parents: Tensor) -> Tensor:
        peak = _finite(_larger(above.detach(), below.detach(), parents))
        total = (above - peak).exp().index_add(1, parents, (below - peak[:, parents]).exp())
        return _log(total) + peak

    return _upwards(taxonomy, values, add)


def max_up(taxonomy: Taxonomy, values: Tensor) -> Tensor:
    r"""Give every node the largest value of its subtree, itself included.

    Args:
        taxonomy: The tree, of n nodes.
        values: One value a node (B, n), any floating type and device.

    Returns:
        The maxima (B, n). Differentiable; equal values share the gradient.

    Raises:
        TaxonomyError: ``values`` is not (B, n).

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d")])
        >>> max_up(tree, torch.tensor([[1.0, 3.0, 2.0, 5.0]]))
        tensor([[5., 5., 2., 5.]])
    """
    return _upwards(taxonomy, values, _larger)


def sum_down(taxonomy: Taxonomy, values: Tensor) -> Tensor:
    r"""Give every node the sum over the path from the root to it, both included.

    .. math:: s_v = x_v + s_{\text{parent}(v)}

    Args:
        taxonomy: The tree, of n nodes.
        values: One value a node (B, n), any numeric type and device.

    Returns:
        The sums (B, n). Differentiable any number of times.

    Raises:
        TaxonomyError: ``values`` is not (B, n).

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d")])
        >>> sum_down(tree, torch.tensor([[1, 10, 100, 1000]]))
        tensor([[   1,   11,  101, 1011]])
    """
    check_node_values(taxonomy, values)
    if values.dtype in _HALF:
        return sum_down(taxonomy, values.float()).to(values.dtype)
    index = tree_index(taxonomy, values.device)
    sums = list(torch.split(values, index.level_sizes, dim=1))
    for depth in range(1, len(sums)):
        sums[depth] = sums[depth] + sums[depth - 1][:, index.parent_in_level[depth - 1]]
    return torch.cat(sums, dim=1)


def sibling_log_softmax(taxonomy: Taxonomy, scores: Tensor) -> Tensor:
    r"""Give every node the log-probability among its siblings; 0 to the root.

    .. math:: p_v = x_v - \log \sum_{u \in \text{children}(\text{parent}(v))} e^{x_u}

    Args:
        taxonomy: The tree, of n nodes.
        scores: One score a node (B, n), any floating type and device, finite.

    Returns:
        Logarithms (B, n), at most 0; 0 for an only child. Differentiable any number of times.

    Raises:
        TaxonomyError: ``scores`` is not (B, n).

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d")])
        >>> sibling_log_softmax(tree, torch.tensor([[9.0, 1.0, 1.0, 7.0]])).exp()
        tensor([[1.0000, 0.5000, 0.5000, 1.0000]])
    """
    check_node_values(taxonomy, scores)
    if scores.dtype in _HALF:
        return sibling_log_softmax(taxonomy, scores.float()).to(scores.dtype)
    below = scores[:, 1:]
    parents = tree_index(taxonomy, scores.device).parent[1:]
    blank = torch.full_like(scores, -torch.inf)
    peak = _finite(_larger(blank, below.detach(), parents))
    shifted = below - peak[:, parents]
    total = torch.zeros_like(scores).index_add(1, parents, shifted.exp())
    logs = shifted - _log(total)[:, parents]
    return torch.cat((torch.zeros_like(scores[:, :1]), logs), dim=1)


def paths_to(taxonomy: Taxonomy, nodes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nodes on the way from the root to each node.

    Args:
        taxonomy: The tree.
        nodes: Node indices (B,), on any device.

    Returns:
        Node indices (B, L), the root first, L being the largest number of nodes on a path; and
        where they count (B, L): shorter paths end with their node again and False.

    Raises:
        TaxonomyError: ``nodes`` is not (B,) or holds what is no node.

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d")])
        >>> paths_to(tree, torch.tensor([3, 2]))
        (tensor([[0, 1, 3],
                [0, 2, 2]]), tensor([[ True,  True,  True],
                [ True,  True, False]]))
    """
    if nodes.ndim != 1:
        raise TaxonomyError(f"Expected nodes (B,), but got {tuple(nodes.shape)}.")
    wrong = torch.nonzero((nodes < 0) | (nodes >= len(taxonomy))).flatten().tolist()
    if wrong:
        raise TaxonomyError(
            f"Nodes must be 0 to {len(taxonomy) - 1}, but row {wrong[0]} has "
            f"{int(nodes[wrong[0]])} ({len(wrong)} such rows)."
        )
    index = tree_index(taxonomy, nodes.device)
    depth = index.depth[nodes]
    deepest = int(depth.max()) if len(nodes) else 0
    upwards = [nodes]
    for _ in range(deepest):
        upwards.append(index.parent[upwards[-1]])  # what is above the root is not looked at
    steps = torch.arange(deepest + 1, device=nodes.device)
    climbs = depth.unsqueeze(1) - steps
    return torch.stack(upwards, dim=1).gather(1, climbs.clamp(min=0)), climbs >= 0


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


def check_node_values(taxonomy: Taxonomy, values: Tensor) -> None:
    """Raise a TaxonomyError unless there is one value a node, (B, n)."""
    if values.ndim != 2 or values.shape[1] != len(taxonomy):
        raise TaxonomyError(
            f"Expected values (B, {len(taxonomy)}), one for each node, but got "
            f"{tuple(values.shape)}."
        )


def _upwards(taxonomy: Taxonomy, values: Tensor, join: Join) -> Tensor:
    check_node_values(taxonomy, values)
    if values.dtype in _HALF:
        return _upwards(taxonomy, values.float(), join).to(values.dtype)
    index = tree_index(taxonomy, values.device)
    levels = list(torch.split(values, index.level_sizes, dim=1))  # (B, nodes of the level) each
    for depth in range(len(levels) - 1, 0, -1):
        levels[depth - 1] = join(levels[depth - 1], levels[depth], index.parent_in_level[depth - 1])
    return torch.cat(levels, dim=1)


def _larger(above: Tensor, below: Tensor, parents: Tensor) -> Tensor:
    return above.scatter_reduce(1, parents.expand(len(below), -1), below, "amax")


def _finite(peak: Tensor) -> Tensor:
    return torch.where(peak == -torch.inf, 0, peak)


def _log(total: Tensor) -> Tensor:
    """Return the logarithm, and -inf with a gradient of 0 where there is nothing."""
    nothing = total == 0
    return torch.where(nothing, 1, total).log().masked_fill(nothing, -torch.inf)
