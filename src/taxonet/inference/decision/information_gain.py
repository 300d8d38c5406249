"""The name that is expected to tell most, at an accuracy that is asked for."""

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field

from taxonet.inference.decision.inputs import check_share, prob_blocks
from taxonet.inference.decision.learnt import LearntPolicy
from taxonet.inference.decision.likely import ROOT, FloatArray, IntArray, LikelyNodes
from taxonet.inference.decision.policy import Found, Images
from taxonet.inference.decision.truth import is_on_path
from taxonet.registry import POLICIES
from taxonet.taxonomy import Taxonomy

_HALVINGS = 30  # the multiplier to a billionth of its largest value


class InformationGainFound(Found):
    """The weight of being right.

    Attributes:
        images: Number of calibration images.
        multiplier: At least 0, in bits; None where no finite one is right often enough.
    """

    images: Images
    multiplier: Annotated[float, Field(ge=0)] | None


@POLICIES.register("information_gain")
class InformationGain(LearntPolicy[InformationGainFound]):
    r"""Names the node of the largest expected information, at an accuracy of 1 - eps.

    .. math:: \arg\max_v \, (r_v + \lambda) P(v), \quad r_v = \log_2 \frac{\text{leaves}}
        {\text{leaves below } v} \text{ bits}

    The multiplier lambda >= 0 is 0 if that is right often enough, else found by bisection up to
    :math:`r_{max} (1 - \epsilon) / \epsilon`, where calibrated probabilities always are; if the
    images are not right often enough there, every answer is the root. Of equally good nodes the
    last, deeper one is named.

    It promises the accuracy on the calibration images; new ones come near it, without a stated
    probability. A name is right if it is the truth or an ancestor of it; the root is right.

    Args:
        eps: Share of wrong names to stay below on the calibration images, in (0, 1).

    Raises:
        ConfigError: An eps outside (0, 1).

    Reference:
        Deng, Krause, Berg, Fei-Fei, Hedging Your Bets: Optimizing Accuracy-Specificity Trade-offs
        in Large Scale Visual Recognition, CVPR 2012, algorithm DARTS.

    Examples:
        >>> tree = Taxonomy.from_edges([("root", "Acer"), ("root", "Quercus"),
        ...                             ("Quercus", "Q. alba"), ("Quercus", "Q. rubra")])
        >>> probs = torch.tensor([[1.0, 0.0, 1.0, 0.75, 0.25]] * 4)
        >>> policy = InformationGain(0.1).fit(probs, [3, 3, 3, 4], tree)  # r is 0.585 and 1.585
        >>> 2.415 < policy.found.multiplier < 2.416  # 0.75 (1.585 + x) = 0.585 + x
        True
        >>> tree.names[policy.decide(probs, tree)[0]]
        'Quercus'
    """

    kind = "information_gain"
    _found_model = InformationGainFound

    def __init__(self, eps: float = 0.05) -> None:
        super().__init__()
        self.eps = check_share("eps", eps)

    def options(self) -> dict[str, Any]:
        """Return eps."""
        return {"eps": self.eps}

    @property
    def promise(self) -> str:
        """What holds for images like the calibration images, in a few words."""
        return f"none: at most {100 * self.eps:.3g} % of the calibration photos wrong"

    def _learn(
        self, node_probs: torch.Tensor, truth: IntArray, taxonomy: Taxonomy
    ) -> InformationGainFound:
        images = len(truth)
        candidates = _candidates(node_probs, taxonomy)

        def holds(multiplier: float) -> bool:
            named = _best(candidates, taxonomy.information, multiplier)
            right = np.count_nonzero(is_on_path(taxonomy, named, truth))
            return bool(right / images >= 1 - self.eps)

        return InformationGainFound(
            taxonomy=taxonomy.digest,
            images=images,
            multiplier=self._smallest_holding(holds, float(taxonomy.information.max())),
        )

    def decide(self, node_probs: torch.Tensor, taxonomy: Taxonomy) -> IntArray:
        """Return the node to name for each image, int64 ``(B,)``; 0 names nothing.

        Raises:
            DataError: Another taxonomy, or no node probabilities.
            ConfigError: The policy is not fitted.
        """
        multiplier = self._found_for(taxonomy).multiplier
        candidates = _candidates(node_probs, taxonomy)
        if multiplier is None:
            return np.full(candidates.n_images, ROOT)
        return _best(candidates, taxonomy.information, multiplier)

    def _smallest_holding(self, holds: Callable[[float], bool], most_bits: float) -> float | None:
        if holds(0.0):
            return 0.0
        low, high = 0.0, most_bits * (1 - self.eps) / self.eps
        if not holds(high):
            return None
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if holds(middle) else (middle, high)
        return high


def _candidates(node_probs: torch.Tensor, taxonomy: Taxonomy) -> LikelyNodes:
    """Keep what any multiplier may name: nodes at least as probable as the best leaf.

    No node tells more than a leaf, so that a less probable node never wins.
    """
    parts = []
    for probs in prob_blocks(node_probs, taxonomy):
        bar = probs[:, taxonomy.leaves].max(axis=1, keepdims=True)
        image, node = (probs >= bar).nonzero()
        parts.append(LikelyNodes(len(probs), image, node, probs[image, node]))
    return LikelyNodes.joined(parts)


def _best(candidates: LikelyNodes, bits: FloatArray, multiplier: float) -> IntArray:
    """Return the candidate of the largest worth of each image, of equals the last node."""
    worth = (bits[candidates.node] + multiplier) * candidates.prob
    best_last = np.lexsort((candidates.node, worth, candidates.image))
    named = np.full(candidates.n_images, ROOT)
    named[candidates.image[best_last]] = candidates.node[best_last]
    return named
