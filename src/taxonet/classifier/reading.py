"""How the scores of a head are read: as probabilities of classes, and of all nodes of the tree."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import class_to_node_probs


class Reading(ABC):
    """What a classifier makes of the logits ``(B, s)`` of its head.

    Args:
        taxonomy: The tree, of n nodes.
        class_nodes: Node of each class, ascending, ``(c,)``.
    """

    def __init__(self, taxonomy: Taxonomy, class_nodes: NDArray[np.int64]) -> None:
        self.taxonomy, self.class_nodes = taxonomy, class_nodes

    @property
    @abstractmethod
    def columns(self) -> int:
        """The number of scores s that the head gives for an image."""

    @abstractmethod
    def class_probs(self, logits: Tensor, *, allowed: Tensor | None = None) -> Tensor:
        """Return class probabilities ``(B, c)``, each row summing to 1 over the allowed classes.

        Args:
            logits: ``(B, s)``.
            allowed: Bools ``(c,)``, at least one True; None allows all.
        """

    @abstractmethod
    def node_probs(self, logits: Tensor) -> Tensor:
        """Return node probabilities ``(B, n)``; 1 at the root."""


class FlatReading(Reading):
    """One score a class: their softmax, summed up the tree."""

    @property
    def columns(self) -> int:
        """The number of classes."""
        return len(self.class_nodes)

    def class_probs(self, logits: Tensor, *, allowed: Tensor | None = None) -> Tensor:
        """Return the softmax over the allowed classes."""
        if allowed is not None:
            logits = logits.masked_fill(~allowed, -torch.inf)
        return torch.softmax(logits, dim=1)

    def node_probs(self, logits: Tensor) -> Tensor:
        """Return the sums over the classes below each node."""
        return class_to_node_probs(self.taxonomy, self.class_nodes, self.class_probs(logits))
