"""A softmax inside each level of the tree."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from taxonet.losses.hierarchical.base import HierarchicalLoss
from taxonet.losses.hierarchical.levels import Level, check_levels, merge_levels, split_by_depth
from taxonet.losses.hierarchical.picked import picked_log_softmax
from taxonet.registry import HIERARCHICAL_LOSSES
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import paths_to


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
        levels: Depths, 1 to that of the deepest leaf; None is all of them ("L1-7" of a tree of
            depth 7; "L67" is ``(6, 7)``).

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

    def __init__(self, taxonomy: Taxonomy, *, levels: tuple[int, ...] | None = None) -> None:
        super().__init__(taxonomy)
        self.levels = levels
        chosen = check_levels(taxonomy, levels)
        self.parts = nn.ModuleList(Level(taxonomy, depth) for depth in chosen)

    def losses(self, scores: Tensor, target_nodes: Tensor) -> Tensor:
        """Return the cross entropies of the levels of each image, summed ``(B,)``."""
        paths, _ = paths_to(self.taxonomy, target_nodes)
        by_depth = split_by_depth(self.taxonomy, scores)
        losses = [_cross_entropies(level, by_depth, paths) for level in self._levels()]
        # A tree of one node has no levels; its score still gets its gradient, 0.
        return torch.stack(losses).sum(0) if losses else 0 * scores[:, 0]

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the softmax of each node's own level ``(B, n)``."""
        by_depth = split_by_depth(self.taxonomy, scores)
        inside = [level.columns(by_depth).softmax(1) for level in self._levels()]
        return merge_levels(self.taxonomy, self._levels(), inside, scores)

    def _levels(self) -> list[Level]:
        return [level for level in self.parts if isinstance(level, Level)]


def _cross_entropies(level: Level, by_depth: Sequence[Tensor], paths: Tensor) -> Tensor:
    """Return the cross entropy of each image inside a level ``(B,)``; 0 without a target there."""
    target, has_one = level.targets(paths)
    rows = torch.arange(len(paths), device=paths.device)
    return -picked_log_softmax(level.columns(by_depth), rows, target) * has_one
