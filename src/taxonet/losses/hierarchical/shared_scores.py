"""Parameter sharing: the score of a node is the sum of the scores on the way to it."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import tree_index


class _SharedScores(torch.autograd.Function):
    """Sums down the tree, and their gradients back up, with one row a node.

    A row is a run of memory, the batch, so that picking parents copies runs: several times faster
    than picking single columns of ``(B, n)``.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, taxonomy: Taxonomy, nodes: Tensor | None) -> Tensor:
        ctx.taxonomy, ctx.nodes = taxonomy, nodes
        index = tree_index(taxonomy, scores.device)
        sums = scores.T.contiguous()
        if sums.data_ptr() == scores.data_ptr():  # a batch of one, or of columns, is not copied
            sums = sums.clone()
        sums[0] = 0
        levels = torch.split(sums, index.level_sizes)
        for above, below, parents in zip(levels, levels[1:], index.parent_in_level, strict=False):
            below += above.index_select(0, parents)
        return sums if nodes is None else sums.index_select(0, nodes)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        index = tree_index(ctx.taxonomy, grad.device)
        if ctx.nodes is None:
            sums = grad.clone(memory_format=torch.contiguous_format)
        else:
            sums = grad.new_zeros(len(ctx.taxonomy), grad.shape[1]).index_copy_(0, ctx.nodes, grad)
        levels = torch.split(sums, index.level_sizes)
        for depth in range(len(levels) - 1, 0, -1):
            levels[depth - 1].index_add_(0, index.parent_in_level[depth - 1], levels[depth])
        sums[0] = 0
        return sums.T, None, None


def shared_scores(taxonomy: Taxonomy, scores: Tensor, nodes: Tensor | None = None) -> Tensor:
    """Return the sum of the scores from below the root to each node, a row a node.

    Args:
        taxonomy: The tree, of n nodes.
        scores: Node scores ``(B, n)``; column 0, the root, counts as 0.
        nodes: Different nodes ``(m,)``, int64; None is all of them.

    Returns:
        ``(m, B)``. Differentiable once.

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> shared_scores(tree, torch.tensor([[9.0, 1.0, 2.0, 3.0, 4.0]])).T
        tensor([[0., 1., 2., 4., 5.]])
    """
    result: Tensor = _SharedScores.apply(scores, taxonomy, nodes)  # type: ignore[no-untyped-call]
    return result
