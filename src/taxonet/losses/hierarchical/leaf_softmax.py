"""What losses with a softmax over the leaves share: inner nodes are sums over leaves."""

from torch import Tensor

from taxonet.losses.hierarchical.places import places_of
from taxonet.losses.hierarchical.ragged import concatenated_ranges
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import class_to_node_probs


def leaves_below(taxonomy: Taxonomy, nodes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the columns of all leaves below each image's node, and the image of each.

    Args:
        taxonomy: The tree, of n nodes, c of them leaves.
        nodes: One node an image, int64 ``(B,)``; a leaf stands for itself.

    Returns:
        int64 ``(T,)`` in 0..c-1 and ``(T,)`` in 0..B-1: one pair for an image labelled at a leaf.

    Examples:
        >>> import torch
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("b", "e")])
        >>> leaves_below(tree, torch.tensor([1, 2]))  # d and e; c
        (tensor([1, 2, 0]), tensor([0, 0, 1]))
    """
    places = places_of(taxonomy, nodes.device)
    below, image = concatenated_ranges(places.leaf_first[nodes], places.leaf_stop[nodes])
    return places.leaf_at[below], image


def leaf_to_node_probabilities(taxonomy: Taxonomy, leaf_probabilities: Tensor) -> Tensor:
    """Return node probabilities ``(B, n)``: those of the leaves ``(B, c)`` summed upwards."""
    leaves = places_of(taxonomy, leaf_probabilities.device).leaves
    return class_to_node_probs(taxonomy, leaves, leaf_probabilities)
