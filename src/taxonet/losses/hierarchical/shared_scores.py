"""Parameter sharing: the score of a node is the sum of the scores on the way to it."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from taxonet.losses.hierarchical.places import places_of
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import tree_index


class _SharedScores(torch.autograd.Function):
    """Sums down the tree, and their gradients back up."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, taxonomy: Taxonomy, leaves_only: bool) -> Tensor:
        ctx.taxonomy, ctx.leaves_only = taxonomy, leaves_only
        index = tree_index(taxonomy, scores.device)
        own = torch.split(scores, index.level_sizes, dim=1)
        levels = [torch.zeros_like(own[0])]
        for below, parents in zip(own[1:], index.parent_in_level, strict=True):
            levels.append(levels[-1].index_select(1, parents).add_(below))
        if leaves_only:
            return places_of(taxonomy, scores.device).leaf_columns(levels)
        return torch.cat(levels, dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        index = tree_index(ctx.taxonomy, grad.device)
        # A row a node: adding rows to rows is several times faster than columns to columns.
        sums = grad.new_empty(len(ctx.taxonomy), len(grad))
        levels = torch.split(sums, index.level_sizes)
        if ctx.leaves_only:
            places_of(ctx.taxonomy, grad.device).set_leaf_rows(levels, grad.T)
        else:
            sums.copy_(grad.T)
        for depth in range(len(levels) - 1, 0, -1):
            levels[depth - 1].index_add_(0, index.parent_in_level[depth - 1], levels[depth])
        sums[0] = 0
        return sums.T, None, None


def shared_scores(taxonomy: Taxonomy, scores: Tensor, *, leaves_only: bool = False) -> Tensor:
    """Return the sum of the scores from below the root to each node.

    Args:
        taxonomy: The tree, of n nodes, c of them leaves.
        scores: Node scores ``(B, n)``; column 0, the root, counts as 0.
        leaves_only: Whether to return the columns of the leaves.

    Returns:
        ``(B, n)`` or ``(B, c)``. Differentiable once.

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> scores = torch.tensor([[9.0, 1.0, 2.0, 3.0, 4.0]])
        >>> shared_scores(tree, scores)
        tensor([[0., 1., 2., 4., 5.]])
        >>> shared_scores(tree, scores, leaves_only=True)  # c, d, e
        tensor([[2., 4., 5.]])
    """
    result: Tensor = _SharedScores.apply(  # type: ignore[no-untyped-call]
        scores, taxonomy, leaves_only
    )
    return result
