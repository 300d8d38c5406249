"""A softmax inside each level of the tree."""

from functools import reduce
from operator import add
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from taxonet.losses.hierarchical.base import HierarchicalLoss
from taxonet.losses.hierarchical.levels import (
    Level,
    SideBySide,
    check_levels,
    merge_levels,
    split_by_depth,
)
from taxonet.registry import HIERARCHICAL_LOSSES
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import paths_to, tree_index


class _CrossEntropies(torch.autograd.Function):
    """Those of all levels, summed; composed of plain steps they cost twice.

    One softmax serves all levels: each has its own largest score taken off before, so that each
    gets a fair share of the whole, by which it is divided after.
    """

    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, side_by_side: SideBySide, ancestors: Tensor, counts: Tensor
    ) -> Tensor:
        table = side_by_side.table(scores)
        levels = side_by_side.levels(table)
        peaks = [reduce(torch.maximum, (part.amax(1, True) for part in level)) for level in levels]
        for level, peak in zip(levels, peaks, strict=True):
            for part in level:
                part.sub_(peak)
        probs = table.softmax(1)
        # The largest of all is 1 / sum of e^(score - largest score of its level).
        top = probs.amax(1, True)
        levels = side_by_side.levels(probs)
        shares = torch.cat([reduce(add, (p.sum(1, True) for p in level)) for level in levels], 1)
        for level, factor in zip(levels, torch.split(counts / shares, 1, dim=1), strict=True):
            for part in level:
                part.mul_(factor)
        slopes = side_by_side.summed(probs)
        ctx.save_for_backward(slopes.scatter_add_(1, ancestors, -counts.to(slopes)))
        missed = torch.cat(peaks, dim=1) - scores.gather(1, ancestors)
        return missed.add_((shares / top).log_()).masked_fill_(~counts, 0).sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (slopes,) = ctx.saved_tensors
        return slopes * grad.unsqueeze(1), None, None, None


@HIERARCHICAL_LOSSES.register("levelwise_cross_entropy")
class LevelwiseCrossEntropyLoss(HierarchicalLoss):
    """The sum over chosen levels of the cross entropy of a softmax inside the level.

    ``L = sum_l -log softmax over level l (s)_{y_l}``, the mean over the batch, ``y_l`` being the
    node of the level that the target lies on or below. A level is all nodes of one depth and the
    leaves above it, so that every leaf lies on or below one of its nodes. Levels deeper than a
    label at an inner node are left out for it.

    At prediction a node has the probability of its own depth's level; where that was not chosen,
    the sum of the nodes below it in the next deeper one, and 0 below the deepest.

    Shape:
        Node scores ``(B, n)``, column 0 ignored; otherwise as `HierarchicalLoss`.

    Args:
        taxonomy: The tree, of n nodes.
        levels: Depths, 1 to that of the deepest leaf, which is also -1; None is all of them
            ("L1-7" of a tree of depth 7; "L67" is ``(6, 7)``, or ``(-2, -1)`` of any tree).

    Raises:
        ConfigError: A level that the tree has not.
        DataError: Scores or targets of a wrong form, when called.

    Reference:
        Hierarchical Classification via Diffusion on Manifolds, the rows CE L1-7 and L67 of its
        tables.

    Examples:
        >>> import torch
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> scores = torch.tensor([[9.0, 0.5, 0.5, 0.25, 0.25]]).log()
        >>> loss = LevelwiseCrossEntropyLoss(tree)
        >>> loss(scores, torch.tensor([3])), loss(scores, torch.tensor([1]))  # log 8, log 2
        (tensor(2.0794), tensor(0.6931))
        >>> loss.node_probabilities(scores)  # level 2 is c, d, e
        tensor([[1.0000, 0.5000, 0.5000, 0.2500, 0.2500]])
    """

    takes: ClassVar[Literal["leaves", "nodes"]] = "nodes"
    depths: Tensor

    def __init__(self, taxonomy: Taxonomy, *, levels: tuple[int, ...] | None = None) -> None:
        super().__init__(taxonomy)
        self.levels = levels
        chosen = check_levels(taxonomy, levels)
        self.register_buffer("depths", torch.tensor(chosen, dtype=torch.int64), persistent=False)
        self.parts = nn.ModuleList(Level(taxonomy, depth) for depth in chosen)
        self.side_by_side = SideBySide(taxonomy, self._levels())

    def losses(self, scores: Tensor, target_nodes: Tensor) -> Tensor:
        """Return the cross entropies of the levels of each image, summed ``(B,)``."""
        if not self.parts:  # a tree of one node, whose score still gets its gradient, 0
            return 0 * scores[:, 0]
        paths, _ = paths_to(self.taxonomy, target_nodes)
        ancestors = paths.index_select(1, self.depths.clamp(max=paths.shape[1] - 1))
        result: Tensor = _CrossEntropies.apply(  # type: ignore[no-untyped-call]
            scores, self.side_by_side, ancestors, self._counts(target_nodes)
        )
        return result

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the softmax of each node's own level ``(B, n)``."""
        by_depth = split_by_depth(self.taxonomy, scores)
        inside = [level.columns(by_depth).softmax(1) for level in self._levels()]
        return merge_levels(self.taxonomy, self._levels(), inside, scores)

    def _counts(self, target_nodes: Tensor) -> Tensor:
        """Return whether each level counts for each target ``(B, levels)``."""
        index = tree_index(self.taxonomy, target_nodes.device)
        reached = index.depth[target_nodes].unsqueeze(1) >= self.depths
        return reached | index.is_leaf[target_nodes].unsqueeze(1)

    def _levels(self) -> list[Level]:
        return [level for level in self.parts if isinstance(level, Level)]
