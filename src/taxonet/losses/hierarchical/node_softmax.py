"""What losses with a softmax over all nodes share: a node has its own share and all below it."""

from torch import Tensor

from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import sum_up


def subtree_probabilities(taxonomy: Taxonomy, scores: Tensor) -> Tensor:
    """Return the softmax over all nodes, each node with its descendants ``(B, n)``.

    That is ``exp(energy(v) - energy(root))``, the energy of a node being the logarithm of the sum
    of exponentials of its own score and its children's energies.

    Examples:
        >>> import torch
        >>> tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d")])
        >>> subtree_probabilities(tree, torch.zeros(1, 4))
        tensor([[1.0000, 0.5000, 0.2500, 0.2500]])
    """
    return sum_up(taxonomy, scores.softmax(1))
