"""Rollups by name: each turns what a head says of the tree into one probability a node."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

from torch import Tensor

from taxonet.errors import ConfigError
from taxonet.inference.diffusion import diffuse
from taxonet.inference.learned_diffusion import LearnedDiffusion, centred_log_probs
from taxonet.inference.level_scores import Form, Levels, initial_scores, level_probs
from taxonet.inference.rollup import greedy_path, level_top_down, top_down
from taxonet.registry import ROLLUPS
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import class_to_node_probs, tree_index


@dataclass(frozen=True, eq=False)
class TreeScores:
    """What a head says of a batch, in the forms that rollups start from.

    Attributes:
        taxonomy: The tree that the classes span, of n nodes.
        class_nodes: Node of each class, ``(c,)``.
        class_probs: Class probabilities ``(B, c)``.
        node_probs: The head's own probability of each node ``(B, n)``.
        node_scores: Its score of each node ``(B, n)``; None where it has scores of classes or
            leaves only.
        learned: The map that was fitted to the head's probabilities; None where none was.
    """

    taxonomy: Taxonomy
    class_nodes: Tensor
    class_probs: Tensor
    node_probs: Tensor
    node_scores: Tensor | None = None
    learned: LearnedDiffusion | None = None

    def rows(self, chosen: Tensor) -> "TreeScores":
        """Return what is said of some images, by a mask ``(B,)`` or indices."""
        scores = self.node_scores
        return replace(
            self,
            class_probs=self.class_probs[chosen],
            node_probs=self.node_probs[chosen],
            node_scores=None if scores is None else scores[chosen],
        )


class Rollup(ABC):
    """The base of the rollups; options are keyword arguments.

    Called with `TreeScores`, it returns node probabilities ``(B, n)``, 1 at the root.
    """

    def why_not(self, scores: TreeScores) -> str | None:
        """Return why the rollup makes no sense for a head, None where it does."""
        return None

    @abstractmethod
    def rolled(self, scores: TreeScores) -> Tensor:
        """Return node probabilities, from scores that the rollup can work on."""

    def __call__(self, scores: TreeScores) -> Tensor:
        """Return node probabilities ``(B, n)``.

        Raises:
            ConfigError: The rollup makes no sense for the head.
        """
        if reason := self.why_not(scores):
            raise ConfigError(f"{type(self).__name__} does not go with this head: {reason}")
        return self.rolled(scores)


def with_inner_classes(probs: Tensor, scores: TreeScores) -> Tensor:
    """Give classes above other classes their share back, where a rollup knew leaves only.

    Args:
        probs: Node probabilities ``(B, n)`` that add up to 1 over the leaves.
        scores: What they were made from.
    """
    is_leaf = tree_index(scores.taxonomy, probs.device).is_leaf[scores.class_nodes]
    if bool(is_leaf.all()):
        return probs
    inner = scores.class_probs * ~is_leaf
    kept = class_to_node_probs(scores.taxonomy, scores.class_nodes, inner)
    return (1 - inner.sum(dim=1, keepdim=True)) * probs + kept


@ROLLUPS.register("own")
class OwnProbabilities(Rollup):
    """The probabilities that follow from the loss a head was trained with."""

    def rolled(self, scores: TreeScores) -> Tensor:
        """Return them as they are."""
        return scores.node_probs


@ROLLUPS.register("bottom_up")
class BottomUp(Rollup):
    """Class probabilities, summed up the tree; see `bottom_up`."""

    def rolled(self, scores: TreeScores) -> Tensor:
        """Return the sums."""
        return class_to_node_probs(scores.taxonomy, scores.class_nodes, scores.class_probs)


@ROLLUPS.register("top_down")
class TopDown(Rollup):
    """A softmax among siblings, multiplied down from the root; see `top_down`."""

    def why_not(self, scores: TreeScores) -> str | None:
        """Heads without scores of inner nodes have no siblings to compare."""
        return None if scores.node_scores is not None else "it has no scores of inner nodes."

    def rolled(self, scores: TreeScores) -> Tensor:
        """Return the products."""
        assert scores.node_scores is not None
        return top_down(scores.node_scores, scores.taxonomy)


@ROLLUPS.register("level_top_down")
class LevelTopDown(Rollup):
    """Leaves weighed by their parents at the parents' own level; see `level_top_down`."""

    def rolled(self, scores: TreeScores) -> Tensor:
        """Return the sums over the weighed leaves."""
        probs = level_top_down(level_probs(scores.node_probs, scores.taxonomy), scores.taxonomy)
        return with_inner_classes(probs, scores)


@ROLLUPS.register("diffusion")
class Diffusion(Rollup):
    """Scores of neighbours made to agree; see `diffuse`.

    Args:
        alpha: The part of a node's score that comes from its neighbours, in [0, 1).
        steps: How often to iterate, from 0; None for the exact limit.
        levels: Levels to start from.
        form: ``softmax`` diffuses the probabilities of each level, ``raw`` the scores of nodes.
        top: How many nodes of each level to keep, from 1; None keeps all.
    """

    def __init__(
        self,
        *,
        alpha: float = 0.3,
        steps: int | None = None,
        levels: Levels = "all",
        form: Form = "softmax",
        top: int | None = None,
    ) -> None:
        self.alpha, self.steps = alpha, steps
        self.levels, self.form, self.top = levels, form, top

    def why_not(self, scores: TreeScores) -> str | None:
        """Raw scores of inner nodes are something that flat heads have not."""
        if self.form == "raw" and scores.node_scores is None:
            return "it has no scores of inner nodes: choose form=softmax."
        return None

    def rolled(self, scores: TreeScores) -> Tensor:
        """Return what each node has of its level after diffusion."""
        tree = scores.taxonomy
        # Of probabilities, logarithms are scores whose softmax over a level they are again.
        given = scores.node_scores if self.form == "raw" else scores.node_probs.clamp_min(0).log()
        assert given is not None
        initial = initial_scores(given, tree, levels=self.levels, form=self.form, top=self.top)
        diffused = diffuse(initial, tree, alpha=self.alpha, steps=self.steps)
        return level_probs(diffused, tree, form=self.form)


@ROLLUPS.register("learned_diffusion")
class LearnedDiffusionRollup(Rollup):
    """The leaf scores of a map that was learned, summed up; see `LearnedDiffusion`."""

    def why_not(self, scores: TreeScores) -> str | None:
        """The map is fitted after training, on request."""
        return None if scores.learned else "no map was fitted to it: `taxonet fit-diffusion` does."

    def rolled(self, scores: TreeScores) -> Tensor:
        """Return the sums over the leaves."""
        assert scores.learned is not None
        probs = scores.learned.node_probs(centred_log_probs(scores.node_probs))
        return with_inner_classes(probs, scores)


@ROLLUPS.register("greedy_descent")
class GreedyDescent(Rollup):
    """The path to the best child of the best child and so on, nothing beside it; `greedy_path`."""

    def rolled(self, scores: TreeScores) -> Tensor:
        """Return the probabilities along the path."""
        return greedy_path(scores.node_probs, scores.taxonomy)
