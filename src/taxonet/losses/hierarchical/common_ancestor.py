"""What the lowest common ancestor of the target and every node is, in one pass down the tree."""

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
    return torch.cat(_levels(taxonomy, paths, values), dim=1)


def at_common_ancestors_of_leaves(taxonomy: Taxonomy, paths: Tensor, values: Tensor) -> Tensor:
    """Return the columns of `at_common_ancestors` that belong to the leaves, ``(B, c)``.

    Examples:
        >>> from taxonet.taxonomy.propagate import paths_to
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> paths, _ = paths_to(tree, torch.tensor([3]))
        >>> at_common_ancestors_of_leaves(tree, paths, torch.tensor([[0, 10, 20]]))  # c, d, e
        tensor([[ 0, 20, 10]])
    """
    places = places_of(taxonomy, values.device).leaves_in_level
    leaves = [
        level if len(own) == level.shape[1] else level.index_select(1, own)
        for level, own in zip(_levels(taxonomy, paths, values), places, strict=True)
        if len(own) > 0
    ]
    return leaves[0] if len(leaves) == 1 else torch.cat(leaves, dim=1)


def _levels(taxonomy: Taxonomy, paths: Tensor, values: Tensor) -> list[Tensor]:
    index = tree_index(taxonomy, values.device)
    levels, start = [values[:, :1]], 1
    for depth, parents in enumerate(index.parent_in_level, start=1):
        carried = levels[-1].index_select(1, parents)
        if depth < paths.shape[1]:
            carried = _overwritten(carried, paths[:, depth] - start, values[:, depth])
        levels.append(carried)
        start += len(parents)
    return levels


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


def _overwritten(level: Tensor, places: Tensor, values: Tensor) -> Tensor:
    """Put one value a row in its place, in a level that is nobody else's; before it, nowhere."""
    # The path of a shallower target ends above: its repeated node stands before the level.
    here = places.clamp(min=0).unsqueeze(1)
    kept = level.gather(1, here)
    return level.scatter_(1, here, torch.where(places.unsqueeze(1) >= 0, values.unsqueeze(1), kept))
