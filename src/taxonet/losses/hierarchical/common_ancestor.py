"""What the lowest common ancestor of the target and every node is, in one pass down the tree."""

from functools import lru_cache

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
    index = tree_index(taxonomy, values.device)
    sizes = torch.tensor(index.level_sizes[: paths.shape[1]], device=paths.device)
    places = paths - (sizes.cumsum(0) - sizes)
    # The path of a shallower target ends above: its repeated node goes to a column too many.
    places = torch.where(places >= 0, places, sizes)
    carried, levels = values[:, :1], [values[:, :1]]
    for depth, parents in enumerate(_parents_and_one(taxonomy, values.device), start=1):
        carried = carried.index_select(1, parents)
        if depth < paths.shape[1]:
            carried.scatter_(1, places[:, depth : depth + 1], values[:, depth : depth + 1])
        levels.append(carried[:, :-1])
    return levels


@lru_cache(maxsize=16)
def _parents_and_one(taxonomy: Taxonomy, device: torch.device) -> list[Tensor]:
    """Return the parents of each depth's nodes within the depth above, and any one more."""
    with torch.inference_mode(False):
        index = tree_index(taxonomy, device)
        return [torch.cat((parents, parents[-1:])) for parents in index.parent_in_level]


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
