"""Policies of one threshold, or of one for each group of images."""

from abc import abstractmethod
from typing import Annotated, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field, model_validator

from taxonet.errors import ConfigError
from taxonet.inference.decision.inputs import check_images, checked_groups, likely_of
from taxonet.inference.decision.likely import (
    LOWEST_THRESHOLD_PROB,
    FloatArray,
    IntArray,
    LikelyNodes,
)
from taxonet.inference.decision.mistakes import named_up_to, wrong_up_to
from taxonet.inference.decision.naming import deepest_reaching
from taxonet.inference.decision.policy import Found, Images, Policy
from taxonet.inference.decision.truth import BoolArray
from taxonet.taxonomy import Taxonomy

_ALL = 0  # the one group of a policy without groups


class Names(NamedTuple):
    """What thresholds do to N images of one group.

    Attributes:
        wrong_prob: float64 ``(N,)``, the highest threshold at which the name is wrong.
        named_prob: float64 ``(N,)``, the highest threshold at which there is a name.
    """

    wrong_prob: FloatArray
    named_prob: FloatArray


class GroupThreshold(BaseModel):
    """The threshold of one group.

    Attributes:
        images: Number of its calibration images.
        threshold_prob: In [0.5, 1]; None where no threshold keeps the promise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    images: Images
    threshold_prob: Annotated[float, Field(ge=LOWEST_THRESHOLD_PROB, le=1)] | None


class Thresholds(Found):
    """The thresholds of all groups.

    Attributes:
        grouped: Whether images have groups; otherwise all are of group 0.
        groups: The threshold of each group.
    """

    grouped: bool
    groups: dict[int, GroupThreshold]

    @model_validator(mode="after")
    def _has_the_group_of_all(self) -> Self:
        if not self.grouped and set(self.groups) != {_ALL}:
            raise ValueError(f"without groups there is the one group {_ALL}")
        return self


class ThresholdPolicy(Policy[Thresholds]):
    """Names the deepest node that reaches a threshold chosen on calibration images.

    What a subclass adds is how the threshold of a group is chosen.
    """

    looks_from_prob = LOWEST_THRESHOLD_PROB
    _found_model = Thresholds

    def fit(
        self,
        node_probs: torch.Tensor | LikelyNodes,
        target_nodes: ArrayLike,
        taxonomy: Taxonomy,
        *,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Choose the thresholds on calibration images, which were not trained on.

        Args:
            node_probs: Node probabilities ``(B, n)`` with 1 at the root, or their `LikelyNodes`.
                Those of `cut_at_truth` make a name below a coarse label right.
            target_nodes: Integers ``(B,)``, the true nodes, at any depth. For an unknown taxon it
                is its deepest ancestor in the tree, and a name below that is wrong.
            taxonomy: The tree, n nodes.
            groups: Integers ``(B,)``, a group for each image that follows from what is predicted,
                such as the family or the shot group of the most probable class; never from the
                truth, which is unknown when it is asked for again.

        Raises:
            DataError: No images, no node probabilities, or lengths that differ.
            ConfigError: The policy is fitted already.
        """
        self._unfitted()
        likely = likely_of(node_probs, taxonomy)
        images = check_images(likely.n_images)
        names = Names(wrong_up_to(taxonomy, likely, target_nodes), named_up_to(likely))
        group = _groups_or_one(groups, images)
        present = np.unique(group)
        self._found = Thresholds(
            taxonomy=taxonomy.digest,
            grouped=groups is not None,
            groups={
                int(one): self._of_group(names, group == one, n_groups=len(present))
                for one in present
            },
        )
        return self

    def decide(
        self,
        node_probs: torch.Tensor | LikelyNodes,
        taxonomy: Taxonomy,
        *,
        groups: ArrayLike | None = None,
    ) -> IntArray:
        """Return the node to name for each image.

        Args:
            node_probs: Node probabilities ``(B, n)`` with 1 at the root, or their `LikelyNodes`.
            taxonomy: The taxonomy that the policy was fitted to.
            groups: Integers ``(B,)`` where it was fitted with groups. An image of a group
                without calibration images gets the root.

        Returns:
            int64 ``(B,)``; 0 (the root) names nothing.

        Raises:
            DataError: Another taxonomy, no node probabilities, or lengths that differ.
            ConfigError: The policy is not fitted, or groups are missing or too many.
        """
        found = self._found_for(taxonomy)
        if (groups is not None) != found.grouped:
            raise ConfigError(
                "Expected groups exactly if the policy was fitted with groups: it was fitted "
                f"{'with' if found.grouped else 'without'}, and asked "
                f"{'without' if groups is None else 'with'}."
            )
        likely = likely_of(node_probs, taxonomy)
        group = _groups_or_one(groups, likely.n_images)
        threshold = np.full(likely.n_images, np.inf)
        for one, kept in found.groups.items():
            if kept.threshold_prob is not None:
                threshold[group == one] = kept.threshold_prob
        reached = likely.prob >= threshold[likely.image]
        named = LikelyNodes(
            likely.n_images, likely.image[reached], likely.node[reached], likely.prob[reached]
        )
        return deepest_reaching(taxonomy, named, threshold_prob=LOWEST_THRESHOLD_PROB)

    @property
    def notes(self) -> tuple[str, ...]:
        """Which groups get no name at all, and what more images could do about it."""
        found = self.found
        return tuple(
            (f"Group {one}: " if found.grouped else "")
            + "no threshold keeps the promise, so every answer is the root. "
            + self._reachable(kept.images, n_groups=len(found.groups))
            for one, kept in found.groups.items()
            if kept.threshold_prob is None
        )

    def _of_group(
        self,
        names: Names,
        chosen: BoolArray,
        *,
        n_groups: int,
    ) -> GroupThreshold:
        own = Names(names.wrong_prob[chosen], names.named_prob[chosen])
        return GroupThreshold(
            images=len(own.wrong_prob), threshold_prob=self._threshold(own, n_groups=n_groups)
        )

    @abstractmethod
    def _threshold(self, names: Names, *, n_groups: int) -> float | None:
        """Return the smallest threshold that keeps the promise for one of the groups."""

    @abstractmethod
    def _reachable(self, images: int, *, n_groups: int) -> str:
        """Say which risk so many images without a wrong name can show."""


def _groups_or_one(groups: ArrayLike | None, images: int) -> IntArray:
    return np.full(images, _ALL) if groups is None else checked_groups(groups, images)
