"""The children of the nodes on the way to the target: all that a conditional loss looks at."""

from typing import NamedTuple

import torch
from torch import Tensor

from taxonet.losses.hierarchical.places import places_of
from taxonet.losses.hierarchical.ragged import concatenated_ranges
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import paths_to


class PathChildren(NamedTuple):
    """The T children of all nodes above the targets of a batch, one step behind the other."""

    image: Tensor
    """The row of the batch that each belongs to (T,)."""
    node: Tensor
    """The node (T,)."""
    step: Tensor
    """The step, a node above a target, that each is a child of (T,) in 0..steps-1."""
    chosen: Tensor
    """The one child of each step that leads to the target, as an index into these (steps,)."""

    @property
    def steps(self) -> int:
        """The number of steps of all images together."""
        return len(self.chosen)


def path_children(taxonomy: Taxonomy, target_nodes: Tensor) -> PathChildren:
    """Return the children of every node above each target; the target's own are left out.

    Args:
        taxonomy: The tree, of n nodes.
        target_nodes: One node an image, int64 ``(B,)``.

    Examples:
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> children = path_children(tree, torch.tensor([4, 0]))  # the root has nothing above it
        >>> children.image.tolist(), children.node.tolist(), children.step.tolist()
        ([0, 0, 0, 0], [1, 2, 3, 4], [0, 0, 1, 1])
        >>> children.node[children.chosen]
        tensor([1, 4])
    """
    paths, on_path = paths_to(taxonomy, target_nodes)
    below = on_path[:, 1:]
    parents, taken = paths[:, :-1][below], paths[:, 1:][below]
    first_child = places_of(taxonomy, target_nodes.device).first_child
    first, stop = first_child[parents], first_child[parents + 1]
    node, step = concatenated_ranges(first, stop)
    sizes = stop - first
    row = torch.nonzero(below)[:, 0]
    return PathChildren(row[step], node, step, sizes.cumsum(0) - sizes + taken - first)
