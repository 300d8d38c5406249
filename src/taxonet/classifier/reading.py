"""How the scores of a head are read: as probabilities of classes, and of all nodes of the tree."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from taxonet.errors import ConfigError
from taxonet.inference.learned_diffusion import LearnedDiffusion
from taxonet.inference.rollup_choice import Rollup, TreeScores
from taxonet.losses.hierarchical import (
    HierarchicalLoss,
    LevelwiseCrossEntropyLoss,
    NameContrastLoss,
)
from taxonet.recipes import PartChoice, Recipe
from taxonet.registry import HIERARCHICAL_LOSSES
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import class_to_node_probs, tree_index

LEVEL_HEAD = "level_cosine"


class Reading(ABC):
    """What a classifier makes of the logits ``(B, s)`` of its head.

    Args:
        taxonomy: The classifier's tree, of n nodes.
        class_nodes: Node of each class, ascending, ``(c,)``.
        learned: A map fitted to the head's probabilities, for a rollup; None where none was.

    Attributes:
        tree: The tree of the classes and their ancestors, of m nodes: what has training photos.
        tree_nodes: The node of the classifier's tree of each of them, ``(m,)``.
        class_places: The node of ``tree`` of each class, ``(c,)``.
    """

    def __init__(
        self,
        taxonomy: Taxonomy,
        class_nodes: NDArray[np.int64],
        *,
        learned: LearnedDiffusion | None = None,
    ) -> None:
        self.taxonomy, self.class_nodes, self.learned = taxonomy, class_nodes, learned
        self.tree, here = taxonomy.spanned_by(class_nodes)
        self.tree_nodes = torch.from_numpy(here)
        self.class_places = torch.from_numpy(np.searchsorted(here, class_nodes))

    @property
    @abstractmethod
    def columns(self) -> int:
        """The number of scores s that the head gives for an image."""

    def head_options(self, head: str) -> dict[str, Any]:
        """Return what a head of that name must know of the tree.

        Raises:
            ConfigError: A head that scores nodes level by level, and scores that are read in
                another way, or the other way round.
        """
        if head == LEVEL_HEAD:
            raise ConfigError(
                f"The head {head!r} scores the nodes of the tree level by level: use it with the "
                "loss 'image_text' or 'levelwise_cross_entropy', or choose another head."
            )
        return {}

    @abstractmethod
    def class_probs(self, logits: Tensor, *, allowed: Tensor | None = None) -> Tensor:
        """Return class probabilities ``(B, c)``, each row summing to 1 over the allowed classes.

        Args:
            logits: ``(B, s)``.
            allowed: Bools ``(c,)``, at least one True; None allows all.
        """

    @abstractmethod
    def tree_scores(self, logits: Tensor) -> TreeScores:
        """Return what rollups start from, on ``tree``."""

    @abstractmethod
    def novelty_logits(self, logits: Tensor) -> Tensor:
        """Return the scores ``(B, k)`` whose height says how well a photo fits what is known."""

    def node_probs(self, logits: Tensor, *, rollup: Rollup | None = None) -> Tensor:
        """Return node probabilities ``(B, n)``; 1 at the root, 0 where nothing was trained on.

        Args:
            logits: ``(B, s)``.
            rollup: How to make them of the head's scores; None is the head's own way.

        Raises:
            ConfigError: The rollup makes no sense for the head.
        """
        return self.node_probs_of(self.tree_scores(logits), rollup=rollup)

    def node_probs_of(self, scores: TreeScores, *, rollup: Rollup | None = None) -> Tensor:
        """Return the same from the scores that `tree_scores` gives.

        Raises:
            ConfigError: The rollup makes no sense for the head.
        """
        probs = scores.node_probs if rollup is None else rollup(scores)
        found = probs.new_zeros(len(probs), len(self.taxonomy))
        found[:, self.tree_nodes.to(probs.device)] = probs
        found[:, 0] = 1  # which sums miss by rounding
        return found


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

    def novelty_logits(self, logits: Tensor) -> Tensor:
        """Return the logits of the classes."""
        return logits

    def tree_scores(self, logits: Tensor) -> TreeScores:
        """Return class probabilities and their sums; there are no scores of inner nodes."""
        probs = self.class_probs(logits)
        places = self.class_places.to(probs.device)
        return TreeScores(
            self.tree,
            places,
            probs,
            class_to_node_probs(self.tree, places, probs),
            learned=self.learned,
        )


class TreeReading(Reading):
    """Scores of the leaves or nodes of the classes' tree, read as a hierarchical loss reads them.

    Args:
        taxonomy: The classifier's tree, of n nodes.
        class_nodes: Node of each class, ascending, ``(c,)``.
        class_counts: Training photos of each class, ``(c,)``.
        choice: A registered hierarchical loss.
        learned: See `Reading`.

    Attributes:
        loss: That loss.

    Raises:
        ConfigError: Options that the loss does not take.
    """

    def __init__(
        self,
        taxonomy: Taxonomy,
        class_nodes: NDArray[np.int64],
        class_counts: NDArray[np.int64],
        choice: PartChoice,
        *,
        learned: LearnedDiffusion | None = None,
    ) -> None:
        super().__init__(taxonomy, class_nodes, learned=learned)
        needs_counts = getattr(HIERARCHICAL_LOSSES.get(choice.name), "needs_counts", False)
        counts = np.zeros(len(self.tree), dtype=np.int64)
        counts[self.class_places.numpy()] = class_counts
        given = (self.tree, counts) if needs_counts else (self.tree,)
        self.loss: HierarchicalLoss = HIERARCHICAL_LOSSES.build(choice.name, choice.options, *given)

    @property
    def columns(self) -> int:
        """The number of leaves or nodes of the classes' tree, as the loss takes them."""
        return self.loss.columns

    def head_options(self, head: str) -> dict[str, Any]:
        """Return the depths of the nodes and the levels that the loss has chosen."""
        if head != LEVEL_HEAD and isinstance(self.loss, NameContrastLoss):
            raise ConfigError(
                f"The loss 'image_text' compares images with a vector of each taxon, which the "
                f"head {head!r} has not: set model.head to {LEVEL_HEAD!r}."
            )
        if head != LEVEL_HEAD or not isinstance(self.loss, LevelwiseCrossEntropyLoss):
            return super().head_options(head)
        sizes = [level.stop - level.start for level in self.tree.level_slices]
        return {"level_sizes": sizes, "levels": self.loss.depths.tolist()}

    def class_probs(self, logits: Tensor, *, allowed: Tensor | None = None) -> Tensor:
        """Return what each class has beyond the classes below it, in shares of all of that.

        A class at a leaf has the probability of its node; one at an inner node, whose photos are
        known no further, has what its children leave of it. Where nothing allowed is left, all
        allowed classes are alike.
        """
        return self._class_probs(self.loss.node_probabilities(logits), allowed)

    def novelty_logits(self, logits: Tensor) -> Tensor:
        """Return the logits of leaves, or of nodes the logarithms of the classes' probabilities.

        Scores of different nodes do not compare: that of an only child or of the root may be
        anything. Probabilities do, and those of sigmoids are low where nothing fits.
        """
        if self.loss.takes == "leaves":
            return logits
        probs = self.loss.node_probabilities(logits)[:, self.class_places.to(logits.device)]
        return probs.clamp_min(torch.finfo(probs.dtype).tiny).log()

    def tree_scores(self, logits: Tensor) -> TreeScores:
        """Return the probabilities of the loss's own prediction, and the scores of nodes if any."""
        probs = self.loss.node_probabilities(logits)
        return TreeScores(
            self.tree,
            self.class_places.to(probs.device),
            self._class_probs(probs, None),
            probs,
            logits if self.loss.takes == "nodes" else None,
            learned=self.learned,
        )

    def _class_probs(self, probs: Tensor, allowed: Tensor | None) -> Tensor:
        parents = tree_index(self.tree, probs.device).parent[1:]
        children = torch.zeros_like(probs).index_add(1, parents, probs[:, 1:])
        own = (probs - children).clamp_min(0)[:, self.class_places.to(probs.device)]
        mask = own.new_ones(own.shape[1]) if allowed is None else allowed.to(own)
        own = own * mask
        own = torch.where(own.sum(dim=1, keepdim=True) > 0, own, mask)
        return own / own.sum(dim=1, keepdim=True)


def reading_of(
    recipe: Recipe,
    taxonomy: Taxonomy,
    class_nodes: NDArray[np.int64],
    class_counts: NDArray[np.int64],
    *,
    learned: LearnedDiffusion | None = None,
) -> Reading:
    """Return how the scores of a recipe's head are read.

    Raises:
        ConfigError: Options that the hierarchical loss does not take.
    """
    if recipe.loss.name in HIERARCHICAL_LOSSES.names():
        return TreeReading(taxonomy, class_nodes, class_counts, recipe.loss, learned=learned)
    return FlatReading(taxonomy, class_nodes, learned=learned)
