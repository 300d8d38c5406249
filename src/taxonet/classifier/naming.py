"""Which taxon an image is given as its name, and what that promises."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from taxonet.classifier.decision_rule import DecisionRule
from taxonet.classifier.predicted_groups import PredictedGroups
from taxonet.classifier.settings import Calibration
from taxonet.classifier.spanned import SpannedTree
from taxonet.inference.decision import ThresholdPolicy, deepest_reaching
from taxonet.taxonomy import Taxonomy

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Naming:
    """How names are chosen.

    Attributes:
        decide: From node probabilities ``(B, n)`` to the node named, int64 ``(B,)``; 0 for none.
        promise: What holds for photos like the calibration photos; begins with ``none`` where
            nothing does.
        novelty_threshold: A photo whose novelty score is above it gets no name; None: none is.
        is_kept_by_coarser_names: Whether the promise holds as well for names above these.
    """

    decide: Callable[[Tensor], IntArray]
    promise: str
    novelty_threshold: float | None = None
    is_kept_by_coarser_names: bool = True

    def without_promise(self, why: str) -> "Naming":
        """Return the same where something has changed that the promise rests on."""
        return replace(self, promise=f"none: {why}")

    def under(self, given: "Circumstances") -> "Naming":
        """Return the same where probabilities are made in some way, with the promise that is left.

        Where only some taxa are allowed and the others' probability is not shared out among them,
        that of a node only falls, and one threshold names a node above the former name.
        """
        if given.rollup:
            return self.without_promise("calibrated for another rollup")
        if given.other_shares:
            return self.without_promise("calibrated for other shares of taxa")
        if given.some_taxa and (given.renormalised or not self.is_kept_by_coarser_names):
            return self.without_promise("calibrated for all taxa")
        return self


@dataclass(frozen=True)
class Circumstances:
    """What node probabilities were made with besides the classifier.

    Attributes:
        rollup: Another way from scores to probabilities than the head's own.
        some_taxa: A choice of taxa that may be named.
        renormalised: Their probabilities were made to sum to 1.
        other_shares: Other shares of the taxa than in training.
    """

    rollup: bool = False
    some_taxa: bool = False
    renormalised: bool = False
    other_shares: bool = False


def naming_by_threshold(taxonomy: Taxonomy, calibration: Calibration) -> Naming:
    """Name the deepest node that reaches the threshold of the calibration."""
    threshold_prob = calibration.threshold_prob

    def decide(node_probs: Tensor) -> IntArray:
        return deepest_reaching(taxonomy, node_probs, threshold_prob=threshold_prob)

    return Naming(decide, _said_of(calibration), calibration.novelty_threshold)


def naming_by_rule(
    rule: DecisionRule,
    taxonomy: Taxonomy,
    class_nodes: IntArray,
    class_counts: IntArray,
    *,
    novelty_threshold: float | None,
) -> Naming:
    """Name what a fitted policy decides, and nothing where a photo is too novel.

    To leave a photo without a name is never wrong, so that a promise about all photos stands. One
    about the photos with a name would not be about the same photos: there, no photo is too novel.

    Args:
        rule: The policy, and how images are grouped for it.
        taxonomy: The classifier's tree.
        class_nodes: Node of each class, ``(c,)``.
        class_counts: Training photos of each class, ``(c,)``.
        novelty_threshold: Novelty score above which a photo gets no name; None: none is.

    Raises:
        DataError: The policy was fitted to another taxonomy, or other classes of it.
        ConfigError: Groups by a rank that the taxonomy does not have.
    """
    spanned = SpannedTree.of(taxonomy, class_nodes)
    rule.check(spanned.tree)
    groups = PredictedGroups.of(
        rule.group_by, spanned.tree, spanned.places(class_nodes), class_counts
    )
    policy = rule.policy

    def decide(node_probs: Tensor) -> IntArray:
        probs = spanned.probs(node_probs)
        if groups is None or not isinstance(policy, ThresholdPolicy):
            return spanned.nodes[policy.decide(probs, spanned.tree)]
        return spanned.nodes[policy.decide(probs, spanned.tree, groups=groups(probs))]

    return Naming(
        decide,
        rule.promise,
        None if policy.is_about_names else novelty_threshold,
        isinstance(policy, ThresholdPolicy) and groups is None and not policy.is_about_names,
    )


def _said_of(calibration: Calibration) -> str:
    if not calibration.images:
        return "none: not calibrated"
    return (
        f"none: chosen for {calibration.named_right:.0%} right names on "
        f"{calibration.images} calibration photos"
    )
