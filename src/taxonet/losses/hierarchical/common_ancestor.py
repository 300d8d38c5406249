"""What the lowest common ancestor of the target and every node is, in one pass down the tree."""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from taxonet.losses.hierarchical.places import places_of
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import tree_index


def at_common_ancestors(taxonomy: Taxonomy, paths: Tensor, values: Tensor) -> Tensor:
    """Return for every node the value of its lowest common ancestor with the image's target.

    Each value is written at its node of the path and carried down until the path overwrites it.

    Args:
        taxonomy: The tree, of n nodes.
        paths: The nodes from the root to each target, as `paths_to` returns them, int64 ``(B, L)``.
        values: One number for each ``(B, L)``; those of repeated nodes do not count.

    Returns:
        ``(B, n)``, of the type of the values.

    Examples:
        >>> from taxonet.taxonomy.propagate import paths_to
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> paths, _ = paths_to(tree, torch.tensor([3]))
        >>> at_common_ancestors(tree, paths, torch.tensor([[0, 10, 20]]))
        tensor([[ 0, 10,  0, 20, 10]])
    """
    return torch.cat(levels_of_common_ancestors(taxonomy, paths, values), dim=1)


def at_common_ancestors_of_leaves(taxonomy: Taxonomy, paths: Tensor, values: Tensor) -> Tensor:
    """Return the columns of `at_common_ancestors` that belong to the leaves, ``(B, c)``.

    Examples:
        >>> from taxonet.taxonomy.propagate import paths_to
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> paths, _ = paths_to(tree, torch.tensor([3]))
        >>> at_common_ancestors_of_leaves(tree, paths, torch.tensor([[0, 10, 20]]))  # c, d, e
        tensor([[ 0, 20, 10]])
    """
    levels = levels_of_common_ancestors(taxonomy, paths, values)
    return places_of(taxonomy, values.device).leaf_columns(levels)


def levels_of_common_ancestors(taxonomy: Taxonomy, paths: Tensor, values: Tensor) -> list[Tensor]:
    """Return the columns of `at_common_ancestors` depth by depth, ``(B, nodes)`` each."""
    way = _way_down(taxonomy, values.device)
    first, sizes = way.first[: paths.shape[1]], way.sizes[: paths.shape[1]]
    # The path of a shallower target ends above: its repeated node goes to a column too many.
    places = torch.split(torch.where(paths >= first, paths - first, sizes), 1, dim=1)
    own = torch.split(values, 1, dim=1)
    carried, levels = own[0], [own[0]]
    for depth, parents in enumerate(way.parents, start=1):
        carried = carried.index_select(1, parents)
        if depth < len(own):
            carried.scatter_(1, places[depth], own[depth])
        levels.append(carried[:, :-1])
    return levels


class _WayDown(NamedTuple):
    first: Tensor
    """The first node of each depth."""
    sizes: Tensor
    """The number of nodes of each depth."""
    parents: list[Tensor]
    """The parents of each depth's nodes within the depth above, and any one more."""


@lru_cache(maxsize=16)
def _way_down(taxonomy: Taxonomy, device: torch.device) -> _WayDown:
    with torch.inference_mode(False):
        index = tree_index(taxonomy, device)
        sizes = torch.tensor(index.level_sizes, device=device)
        parents = [torch.cat((level, level[-1:])) for level in index.parent_in_level]
        return _WayDown(sizes.cumsum(0) - sizes, sizes, parents)


def depths_of_common_ancestors(taxonomy: Taxonomy, paths: Tensor) -> Tensor:
    """Return the depth of each node's lowest common ancestor with the target, ``(B, n)``.

    As float32, of which torch picks columns several times faster than of integers.

    Examples:
        >>> from taxonet.taxonomy.propagate import paths_to
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> paths, _ = paths_to(tree, torch.tensor([3, 0]))
        >>> depths_of_common_ancestors(tree, paths)
        tensor([[0., 1., 0., 2., 1.],
                [0., 0., 0., 0., 0.]])
    """
    return at_common_ancestors(taxonomy, paths, depths_on(paths))


def depths_on(paths: Tensor) -> Tensor:
    """Return the depth of each node of the paths, float32 ``(B, L)``."""
    depths = torch.arange(paths.shape[1], dtype=torch.float32, device=paths.device)
    return depths.expand(len(paths), -1)
