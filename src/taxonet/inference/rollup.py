"""Rollups: from the scores of a head to one probability for every node of the tree."""

import torch
from torch import Tensor

from taxonet.errors import ConfigError, TaxonomyError
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import (
    check_node_values,
    sibling_log_softmax,
    sum_down,
    sum_up,
    tree_index,
)


def bottom_up(leaf_probs: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Give every node the probability of the leaves on it and below it.

    Args:
        leaf_probs: Probabilities of the leaves ``(B, c)`` in the order of ``taxonomy.leaves``,
            each row summing to 1.
        taxonomy: The tree, of n nodes.

    Returns:
        Node probabilities ``(B, n)``; 1 at the root.

    Raises:
        TaxonomyError: Not one column a leaf.

    Reference:
        Test-time inference of Valmadre, Hierarchical classification at multiple operating points
        (2022).

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> bottom_up(torch.tensor([[0.25, 0.25, 0.5]]), tree)  # c, d, e
        tensor([[1.0000, 0.7500, 0.2500, 0.2500, 0.5000]])
    """
    leaves = tree_index(taxonomy, leaf_probs.device).leaves
    if leaf_probs.ndim != 2 or leaf_probs.shape[1] != len(leaves):
        raise TaxonomyError(
            f"Expected leaf probabilities (B, {len(leaves)}) in the order of taxonomy.leaves, but "
            f"got {tuple(leaf_probs.shape)}."
        )
    values = leaf_probs.new_zeros(len(leaf_probs), len(taxonomy))
    return sum_up(taxonomy, values.index_copy(1, leaves, leaf_probs))


def top_down(node_scores: Tensor, taxonomy: Taxonomy) -> Tensor:
    r"""Multiply the probabilities of children among their siblings down from the root.

    .. math:: P(v) = P(v \mid \text{parent}(v)) \, P(\text{parent}(v)), \quad
        P(v \mid \text{parent}(v)) = \text{softmax over the siblings of } v

    Args:
        node_scores: Logits ``(B, n)`` in node order; the root's is not read.
        taxonomy: The tree, of n nodes.

    Returns:
        Node probabilities ``(B, n)``; 1 at the root, and children sum to their parent.

    Raises:
        TaxonomyError: Not one column a node.

    Reference:
        Redmon and Farhadi, YOLO9000 (2017), section 4.

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> scores = torch.tensor([[7.0, 0.75, 0.25, 0.5, 0.5]])
        >>> scores[:, 1:] = scores[:, 1:].log()
        >>> top_down(scores, tree)
        tensor([[1.0000, 0.7500, 0.2500, 0.3750, 0.3750]])
    """
    return sum_down(taxonomy, sibling_log_softmax(taxonomy, node_scores)).exp()


def level_top_down(level_probs: Tensor, taxonomy: Taxonomy) -> Tensor:
    r"""Weigh each leaf by the probability that its parent has at the parent's own level.

    .. math:: P(\ell) \propto p_\ell \; p_{\text{parent}(\ell)}

    over the leaves; other nodes get the sum of their leaves. The root counts as 1.

    Args:
        level_probs: Probabilities ``(B, n)`` in node order, normalised inside each level, as a
            softmax for each level gives them.
        taxonomy: The tree, of n nodes.

    Returns:
        Node probabilities ``(B, n)``; 1 at the root. Where every leaf has the product 0, leaves
        are left as they were, normalised; where all leaves are 0 too, they are all alike.

    Raises:
        TaxonomyError: Not one column a node.

    Reference:
        Hierarchical ensemble of Jain et al., Test-time amendment with a coarse classifier (2023).

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("c", "e")])
        >>> level_top_down(torch.tensor([[1.0, 0.75, 0.25, 0.5, 0.5]]), tree)
        tensor([[1.0000, 0.7500, 0.2500, 0.7500, 0.2500]])
    """
    check_node_values(taxonomy, level_probs)
    index = tree_index(taxonomy, level_probs.device)
    leaves, parents = index.leaves, index.parent[index.leaves]
    own = level_probs[:, leaves]
    above = torch.where(parents > 0, level_probs[:, parents.clamp_min(0)], 1)
    weighed = own * above
    nothing = weighed.sum(dim=1, keepdim=True) == 0
    weighed = torch.where(nothing, own, weighed)
    nothing = weighed.sum(dim=1, keepdim=True) == 0
    weighed = torch.where(nothing, 1, weighed)
    return bottom_up(weighed / weighed.sum(dim=1, keepdim=True), taxonomy)


def greedy_descent(node_probs: Tensor, taxonomy: Taxonomy, *, threshold_prob: float) -> Tensor:
    """Walk down from the root to the best child as long as it is likely enough.

    Args:
        node_probs: Confidences ``(B, n)`` in node order, comparable among siblings; the root's is
            not read.
        taxonomy: The tree, of n nodes.
        threshold_prob: In [0, 1]; a child below it is not entered.

    Returns:
        The nodes where the walks end ``(B,)``, int64; 0 where no child of the root was likely
        enough. Of equal children the lower node is taken.

    Raises:
        TaxonomyError: Not one column a node.
        ConfigError: A threshold outside [0, 1].

    Reference:
        Deep RTC: Wu et al., Solving long-tailed recognition with deep realistic taxonomic
        classifier (2020), section 3.4.

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> probs = torch.tensor([[1.0, 0.75, 0.25, 0.5, 0.25]])
        >>> [int(greedy_descent(probs, tree, threshold_prob=t)) for t in (0.5, 0.7, 0.8)]
        [3, 1, 0]
    """
    check_node_values(taxonomy, node_probs)
    if not 0 <= threshold_prob <= 1:
        raise ConfigError(f"threshold_prob must be in [0, 1], but is {threshold_prob}.")
    here = torch.zeros(len(node_probs), dtype=torch.int64, device=node_probs.device)
    best = _best_child(node_probs, taxonomy)
    for _ in range(len(taxonomy.level_slices) - 1):
        child = best.gather(1, here.unsqueeze(1)).squeeze(1)
        confidence = node_probs.gather(1, child.clamp_min(0).unsqueeze(1)).squeeze(1)
        here = torch.where((child >= 0) & (confidence >= threshold_prob), child, here)
    return here


def greedy_path(node_probs: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Keep the nodes that a walk from the root to the best child passes, down to a leaf.

    A node is as likely as the least likely one on the way to it, since `greedy_descent` stops
    there: ends of its walks at all thresholds are in the result.

    Args:
        node_probs: Confidences in [0, 1] ``(B, n)`` in node order, comparable among siblings; the
            root's is not read.
        taxonomy: The tree, of n nodes.

    Returns:
        Node probabilities ``(B, n)``: 1 at the root, never growing along the path, 0 beside it.

    Raises:
        TaxonomyError: Not one column a node.

    Reference:
        Deep RTC; see `greedy_descent`.

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> greedy_path(torch.tensor([[1.0, 0.5, 0.25, 0.75, 0.25]]), tree).tolist()
        [[1.0, 0.5, 0.0, 0.5, 0.0]]
    """
    check_node_values(taxonomy, node_probs)
    best = _best_child(node_probs, taxonomy)
    path = torch.zeros_like(node_probs)
    path[:, 0] = 1
    here = torch.zeros(len(node_probs), 1, dtype=torch.int64, device=node_probs.device)
    for _ in range(len(taxonomy.level_slices) - 1):
        child = best.gather(1, here)
        # Below a leaf the walk stays where it is.
        ahead = torch.where(child >= 0, child, here)
        least = torch.minimum(path.gather(1, here), node_probs.gather(1, ahead))
        path = path.scatter(1, ahead, torch.where(child >= 0, least, path.gather(1, here)))
        here = ahead
    return path


def _best_child(values: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Return the child with the largest value of each node ``(B, n)``; -1 below a leaf."""
    if len(taxonomy) == 1:
        return torch.full_like(values, -1, dtype=torch.int64)
    parents = tree_index(taxonomy, values.device).parent[1:].expand(len(values), -1)
    children = torch.arange(1, len(taxonomy), device=values.device).expand(len(values), -1)
    largest = torch.full_like(values, -torch.inf).scatter_reduce(1, parents, values[:, 1:], "amax")
    is_best = values[:, 1:] == largest.gather(1, parents)
    beyond = len(taxonomy)
    first = torch.full_like(values, beyond, dtype=torch.int64).scatter_reduce(
        1, parents, torch.where(is_best, children, beyond), "amin"
    )
    return torch.where(first == beyond, -1, first)
