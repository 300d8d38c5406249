"""Levels as partitions of the leaves: which columns a level has, and which are the targets."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from taxonet.errors import ConfigError
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import sum_up, tree_index


def check_levels(taxonomy: Taxonomy, levels: Sequence[int] | None) -> tuple[int, ...]:
    """Return the chosen levels, ascending; None chooses all but the root's.

    Levels below 0 count from the deepest, which is -1.

    Raises:
        ConfigError: A level that the tree has not, the root's, or one twice.

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> check_levels(tree, None), check_levels(tree, (2,)), check_levels(tree, (-1, 1))
        ((1, 2), (2,), (1, 2))
    """
    deepest = len(taxonomy.level_slices) - 1
    if levels is None:
        return tuple(range(1, deepest + 1))
    depths = [level + deepest + 1 if level < 0 else level for level in levels]
    wrong = [depth for depth in depths if not 1 <= depth <= deepest]
    if wrong or not depths or len(set(depths)) < len(depths):
        raise ConfigError(
            f"levels must be different depths from 1 to {deepest}, or from -1, the deepest, to "
            f"{-deepest}, at least one, but are {list(levels)}."
        )
    return tuple(sorted(depths))


class Level(nn.Module):
    """One level of a taxonomy: the nodes of that depth and the leaves above it.

    Args:
        taxonomy: The tree, of n nodes.
        depth: Edges from the root.

    Attributes:
        nodes: The nodes of the level, ascending (m,).
    """

    nodes: Tensor

    def __init__(self, taxonomy: Taxonomy, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self.first = taxonomy.level_slices[depth].start
        self.register_buffer("nodes", torch.from_numpy(taxonomy.level(depth)), persistent=False)
        is_leaf = np.isin(np.arange(len(taxonomy)), taxonomy.leaves)
        #: The depths above that hold leaves, and where in their own depth these stand.
        self.above: dict[int, str] = {}
        for own, nodes_of_own in enumerate(taxonomy.level_slices[:depth]):
            if is_leaf[nodes_of_own].any():
                self.above[own] = f"leaves_at_{own}"
                places = torch.from_numpy(np.flatnonzero(is_leaf[nodes_of_own]))
                self.register_buffer(self.above[own], places, persistent=False)

    def columns(self, scores_of_depths: Sequence[Tensor]) -> Tensor:
        """Return the scores of the level ``(B, m)`` from those of each depth.

        They come from `split_by_depth`, all levels from one split: slices of one tensor would
        each send back a gradient as large as all scores.
        """
        above = [
            scores_of_depths[own].index_select(1, self.get_buffer(name))
            for own, name in self.above.items()
        ]
        own_depth = scores_of_depths[self.depth]
        return torch.cat([*above, own_depth], dim=1) if above else own_depth

    def targets(self, paths: Tensor) -> tuple[Tensor, Tensor]:
        """Return each target's place in the level ``(B,)`` and whether it has one ``(B,)``.

        A target above the level has none, unless it is a leaf.

        Args:
            paths: The nodes from the root to each target, as `paths_to` returns them ``(B, L)``.
        """
        ancestor = paths[:, min(self.depth, paths.shape[1] - 1)]
        if not self.above:
            place = ancestor - self.first
            return place.clamp(min=0), place >= 0
        place = torch.searchsorted(self.nodes, ancestor.contiguous()).clamp(max=len(self.nodes) - 1)
        return place, self.nodes[place] == ancestor


class SideBySide(nn.Module):
    """Levels as the columns of one table: all nodes, then again the leaves above each level.

    Args:
        taxonomy: The tree, of n nodes.
        levels: Some of its levels.
    """

    again: Tensor
    left_out: Tensor

    def __init__(self, taxonomy: Taxonomy, levels: Sequence[Level]) -> None:
        super().__init__()
        depths = [level.depth for level in levels]
        above = [level.nodes[level.nodes < level.first] for level in levels]
        of_level = torch.isin(torch.from_numpy(taxonomy.depth.copy()), torch.tensor(depths))
        self.depths = depths
        self.nodes = len(taxonomy)
        self.sizes = [_size(level) for level in taxonomy.level_slices] + [len(a) for a in above]
        self.register_buffer("again", torch.cat([*above, torch.arange(0)]), persistent=False)
        self.register_buffer("left_out", torch.nonzero(~of_level)[:, 0], persistent=False)

    def table(self, scores: Tensor) -> Tensor:
        """Return the columns ``(B, n + leaves above levels)``, -inf for nodes of no level."""
        columns = torch.cat((scores, scores.index_select(1, self.again)), dim=1)
        return columns.index_fill_(1, self.left_out, -torch.inf)

    def levels(self, table: Tensor) -> list[list[Tensor]]:
        """Return the columns of each level, as one or two views of the table."""
        parts = torch.split(table, self.sizes, dim=1)
        above = parts[len(parts) - len(self.depths) :]
        return [
            [part for part in (parts[depth], more) if part.shape[1] > 0]
            for depth, more in zip(self.depths, above, strict=True)
        ]

    def summed(self, table: Tensor) -> Tensor:
        """Return the columns of each node, summed ``(B, n)``."""
        nodes, again = torch.split(table, [self.nodes, len(self.again)], dim=1)
        return nodes.index_add_(1, self.again, again)


def split_by_depth(taxonomy: Taxonomy, scores: Tensor) -> tuple[Tensor, ...]:
    """Return the node scores ``(B, n)`` of each depth, the root's first."""
    return torch.split(scores, tree_index(taxonomy, scores.device).level_sizes, dim=1)


def merge_levels(
    taxonomy: Taxonomy, levels: Sequence[Level], probabilities: Sequence[Tensor], like: Tensor
) -> Tensor:
    """Return node probabilities ``(B, n)`` from those inside each level.

    A node has the probability of its own depth's level. Where that level was not chosen, it is
    the sum of what lies below in the next deeper one; 0 below the deepest, and for the root.

    Args:
        taxonomy: The tree, of n nodes.
        levels: The chosen levels, ascending.
        probabilities: One ``(B, m)`` a level.
        like: Any tensor of B rows, of the type and device of the result.
    """
    slices = taxonomy.level_slices
    parts = [like.new_zeros(len(like), 1)]
    for level, inside in zip(levels, probabilities, strict=True):
        if level.depth > len(parts):
            nodes = like.new_zeros(len(like), len(taxonomy)).index_copy(1, level.nodes, inside)
            sums = sum_up(taxonomy, nodes)
            parts += [sums[:, slices[depth]] for depth in range(len(parts), level.depth)]
        # The nodes of that depth come behind the leaves above it.
        parts.append(inside[:, inside.shape[1] - _size(slices[level.depth]) :])
    parts += [like.new_zeros(len(like), _size(deeper)) for deeper in slices[len(parts) :]]
    return torch.cat(parts, dim=1)


def _size(level: slice) -> int:
    return int(level.stop - level.start)
