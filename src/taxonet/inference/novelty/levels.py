"""At which level of the tree an image is novel, from its node probabilities."""

import torch
from torch import Tensor

from taxonet.errors import TaxonomyError
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import check_node_values


def novelty_by_level(node_probs: Tensor, taxonomy: Taxonomy) -> Tensor:
    r"""Return how unlike any known taxon of each level an image is.

    .. math:: 1 - \max_{v \in \text{level } l} p_v

    A level holds the nodes of that depth and the leaves above it; in a tree from a full table it
    is a rank. A new species of a known genus leaves its probability divided among the species of
    the genus: novel at the species, not at the genus. Where a node is at most as likely as its
    parent, as after every rollup that sums, novelty never falls from a level to the next: what is
    novel at the genus is so at the species. Each level has its own threshold (`threshold_at_tpr`
    of its column for calibration images).

    Args:
        node_probs: Probabilities ``(B, n)`` of the nodes, in [0, 1].
        taxonomy: The tree, of n nodes, at least one besides the root.

    Returns:
        Novelty ``(B, L)`` in [0, 1], a column for each depth from 1 on, coarse to fine; the root
        is never novel. float32, float64 for float64 input.

    Raises:
        TaxonomyError: Not one probability a node, or a tree of nothing but the root.

    Examples:
        >>> tree = Taxonomy.from_edges(
        ...     [("root", "Acer"), ("root", "Rosa"), ("Acer", "A. rubrum"), ("Acer", "A. mono"),
        ...      ("Rosa", "R. canina"), ("Rosa", "R. gallica")]
        ... )
        >>> tree.names
        ('root', 'Acer', 'Rosa', 'A. mono', 'A. rubrum', 'R. canina', 'R. gallica')
        >>> node_probs = torch.tensor([
        ...     [1.0, 0.02, 0.98, 0.01, 0.01, 0.96, 0.02],  # Rosa canina
        ...     [1.0, 0.02, 0.98, 0.01, 0.01, 0.50, 0.48],  # another Rosa
        ...     [1.0, 0.48, 0.52, 0.24, 0.24, 0.26, 0.26],  # neither Rosa nor Acer
        ... ])
        >>> novelty_by_level(node_probs, tree)  # at the genus, at the species
        tensor([[0.0200, 0.0400],
                [0.0200, 0.5000],
                [0.4800, 0.7400]])
    """
    check_node_values(taxonomy, node_probs)
    depths = depths_below_root(taxonomy)
    wide = node_probs if node_probs.dtype == torch.float64 else node_probs.float()
    largest = [
        wide[:, torch.from_numpy(taxonomy.level(depth)).to(wide.device)].amax(dim=1)
        for depth in depths
    ]
    # Sums of probabilities may pass 1 by rounding.
    return (1 - torch.stack(largest, dim=1)).clamp(min=0)


def depths_below_root(taxonomy: Taxonomy) -> range:
    """Return the depths of the levels that novelty has, from 1 on.

    Raises:
        TaxonomyError: The tree is nothing but the root.
    """
    if len(taxonomy) == 1:
        raise TaxonomyError("Expected a tree with taxa below the root, got only the root.")
    return range(1, len(taxonomy.level_slices))
