"""The part of a classifier's tree that it can name: its classes and what is above them."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from taxonet.taxonomy import Taxonomy

IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SpannedTree:
    """The tree that the classes span, as decisions see it.

    A leaf of the whole tree may have no photo, and its genus be a class: only in this tree is
    every leaf a class.

    Attributes:
        tree: That tree, of m nodes.
        nodes: The node of the whole tree of each of them, ascending, ``(m,)``.
    """

    tree: Taxonomy
    nodes: IntArray

    @classmethod
    def of(cls, taxonomy: Taxonomy, class_nodes: IntArray) -> Self:
        """Return the tree that classes ``(c,)`` span."""
        tree, nodes = taxonomy.spanned_by(class_nodes)
        return cls(tree, nodes)

    def places(self, nodes: IntArray) -> IntArray:
        """Return the nodes of this tree for nodes of the whole tree, which must be in it."""
        return np.searchsorted(self.nodes, nodes).astype(np.int64)

    def probs(self, node_probs: Tensor) -> Tensor:
        """Return the columns of this tree ``(B, m)`` of node probabilities ``(B, n)``."""
        return node_probs[:, torch.from_numpy(self.nodes).to(node_probs.device)]
