"""What differentiable diffusion is trained by: cross entropy and restraint, level by level."""

from collections.abc import Sequence

import torch
from torch import Tensor

from taxonet.errors import ConfigError
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import check_node_values, paths_to, tree_index

#: Printed for the levels 1 to 6 of iNaturalist 2018; deeper ones get the last.
_PRINTED = (10.0, 5.0, 3.0, 1.0, 0.5, 0.2)

# Probabilities of float32 are no nearer to 1 than this.
_TINY = 1e-7

# Less than any logarithm that float32 leaves of scores; -inf would give no gradient.
_LEAST_LOG = -1e6


def diffusion_loss(
    node_log_probs: Tensor,
    target_nodes: Tensor,
    taxonomy: Taxonomy,
    *,
    restraint: Sequence[float] | None = None,
) -> Tensor:
    r"""Sum the cross entropies of all levels, and restrain the most confident wrong node of each.

    .. math:: L = \sum_{l \ge 1} -\log s^l_{y_l}
        + \sum_{l \ge 1} \beta_l \max_{k \ne y_l} \big( -\log(1 - s^l_k) \big)

    A level is a depth, and of every level deeper than a leaf that leaf is part. Levels deeper than
    a target that is no leaf are left out. As printed, the second sum is always 0: its minus sign
    stands outside the maximum, in which the true node gives 0 and all others less. The text says
    what is meant.

    Args:
        node_log_probs: Logarithms of probabilities ``(B, n)`` in node order, of which children sum
            to their parents. However small a probability is, its logarithm has a gradient.
        target_nodes: Nodes ``(B,)`` at any depth.
        taxonomy: The tree, of n nodes.
        restraint: The weights of the levels 1, 2, ...; levels beyond have none. By default 10, 5,
            3, 1, 0.5 and then 0.2, without the deepest level. ``()`` leaves the restraint out.

    Returns:
        The mean over the batch, in nats.

    Raises:
        ConfigError: A negative weight, or more weights than levels.
        TaxonomyError: Not one column a node, or a target that is no node.

    Reference:
        Hierarchical Classification via Diffusion on Manifolds, equations 7 and 8 (appendix B.2);
        the weights of the cross entropies are not printed and are 1 here.

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> logs = torch.tensor([[1.0, 0.5, 0.5, 0.25, 0.25]]).log()
        >>> diffusion_loss(logs, torch.tensor([3]), tree, restraint=()).exp()  # 1 / (0.5 * 0.25)
        tensor(8.)
        >>> diffusion_loss(logs, torch.tensor([3]), tree, restraint=(1,)).exp()  # 8 / (1 - 0.5)
        tensor(16.)
    """
    check_node_values(taxonomy, node_log_probs)
    weights = default_restraint(taxonomy) if restraint is None else tuple(restraint)
    levels = len(taxonomy.level_slices) - 1
    if len(weights) > levels or any(not weight >= 0 for weight in weights):
        raise ConfigError(
            f"restraint takes up to {levels} weights, one a level below the root and none of them "
            f"negative, but got {weights}."
        )
    narrow = node_log_probs.dtype.itemsize < 4
    logs = (node_log_probs.float() if narrow else node_log_probs).clamp_min(_LEAST_LOG)
    losses = _cross_entropies(logs, target_nodes, taxonomy)
    return (losses + _restraints(logs.exp(), target_nodes, taxonomy, weights)).mean()


def default_restraint(taxonomy: Taxonomy) -> tuple[float, ...]:
    """Return the printed weights of the levels of a tree, none for its deepest level.

    Examples:
        >>> default_restraint(Taxonomy.from_edges([("a", "b"), ("b", "c"), ("c", "d")]))
        (10.0, 5.0)
    """
    levels = max(0, len(taxonomy.level_slices) - 2)
    return (*_PRINTED, *[_PRINTED[-1]] * levels)[:levels]


def _cross_entropies(logs: Tensor, target_nodes: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Return the sum over levels for each image ``(B,)``."""
    path, inside = paths_to(taxonomy, target_nodes)
    along = logs.gather(1, path)
    below_root = inside & (path > 0)
    index = tree_index(taxonomy, logs.device)
    # The last column holds every target. A leaf stands at all levels from its own to the deepest.
    deeper = len(taxonomy.level_slices) - 1 - index.depth[target_nodes]
    repeats = deeper * index.is_leaf[target_nodes]
    return -(along * below_root).sum(dim=1) - along[:, -1] * repeats


def _restraints(
    probs: Tensor, target_nodes: Tensor, taxonomy: Taxonomy, weights: Sequence[float]
) -> Tensor:
    """Return the weighted sum over levels for each image ``(B,)``."""
    index = tree_index(taxonomy, probs.device)
    path, _ = paths_to(taxonomy, target_nodes)
    wrong = probs.scatter(1, path, 0.0)
    depth, known = index.depth[target_nodes], index.is_leaf[target_nodes]
    total = shallower = wrong.new_zeros(len(wrong))  # `shallower`: the largest leaf so far
    levels = zip(
        torch.split(wrong, index.level_sizes, dim=1)[1:],
        torch.split(index.is_leaf, index.level_sizes)[1:],
        weights,
        strict=False,
    )
    for level, (here, leaves, weight) in enumerate(levels, start=1):
        largest = torch.maximum(shallower, here.amax(dim=1))
        counted = known | (depth >= level)
        total = total - weight * counted * torch.log1p(-largest.clamp_max(1 - _TINY))
        shallower = torch.maximum(shallower, (here * leaves).amax(dim=1))
    return total
