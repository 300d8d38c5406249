"""Climbing from the most probable leaf until the node is probable enough."""

import numpy as np
import torch

from taxonet.inference.decision.inputs import prob_blocks
from taxonet.inference.decision.learnt import LearntPolicy
from taxonet.inference.decision.likely import FloatArray, IntArray
from taxonet.inference.decision.mean_risk import wrong_allowed
from taxonet.inference.decision.mistakes import threshold_leaving
from taxonet.inference.decision.on_average import OnAverage
from taxonet.inference.decision.policy import Found, Images, Prob
from taxonet.registry import POLICIES
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import paths_to

_NEVER = -1.0  # below every threshold, 0 included


class ClimbingFound(Found):
    """The threshold of the climbing rule.

    Attributes:
        images: Number of calibration images.
        threshold_prob: In [0, 1]; None where no threshold is right often enough.
    """

    images: Images
    threshold_prob: Prob | None


@POLICIES.register("climbing")
class Climbing(OnAverage[ClimbingFound], LearntPolicy[ClimbingFound]):
    r"""Climbs from the most probable leaf to the first node that reaches a threshold.

    The threshold may be below 0.5, where the rule, unlike the deepest node of all, stays on the
    way from one leaf to the root. It is the smallest that keeps a mean risk of at most alpha:
    an image is named wrongly up to the probability of the highest wrong node on its way, and
    the threshold is the next number of 6 decimals above the :math:`\lceil (n + 1)(1 - \alpha)
    \rceil`-th smallest of these. So the name is right with a probability of at least 1 - alpha,
    over calibration sets and a new image of the same kind; the root is never wrong, and a name
    below the true node is.

    Args:
        alpha: Mean risk to stay below, in (0, 1).

    Raises:
        ConfigError: An alpha outside (0, 1).

    Reference:
        Goren, Galil, El-Yaniv, Hierarchical Selective Classification, arXiv 2405.11533, sections
        3 and 4. Their public code takes NumPy's interpolated quantile of the same numbers, which
        can lie below the one that the proof needs.

    Examples:
        >>> tree = Taxonomy.from_edges([("root", "Acer"), ("root", "Quercus"),
        ...                             ("Quercus", "Q. alba"), ("Quercus", "Q. rubra")])
        >>> probs = torch.tensor([[1.0, 0.25, 0.75, 0.4375, 0.3125]] * 9)
        >>> policy = Climbing(0.2).fit(probs, [3] * 7 + [4] * 2, tree)
        >>> policy.found.threshold_prob  # more than 1 wrong name is too many
        0.437501
        >>> tree.names[policy.decide(probs, tree)[0]]
        'Quercus'
    """

    kind = "climbing"
    _found_model = ClimbingFound

    def _learn(
        self, node_probs: torch.Tensor, truth: IntArray, taxonomy: Taxonomy
    ) -> ClimbingFound:
        images = len(truth)
        path, prob = _paths(node_probs, taxonomy)
        right_depth = taxonomy.depth[taxonomy.lca(path[:, -1], truth)]
        wrong = np.arange(path.shape[1]) > right_depth[:, None]
        found = threshold_leaving(
            np.where(wrong, prob, _NEVER).max(axis=1),
            wrong=wrong_allowed(images, self.alpha),
            lowest_prob=0.0,
        )
        return ClimbingFound(taxonomy=taxonomy.digest, images=images, threshold_prob=found)

    def decide(self, node_probs: torch.Tensor, taxonomy: Taxonomy) -> IntArray:
        """Return the node to name for each image, int64 ``(B,)``; 0 names nothing.

        Raises:
            DataError: Another taxonomy, or no node probabilities.
            ConfigError: The policy is not fitted.
        """
        threshold = self._found_for(taxonomy).threshold_prob
        path, prob = _paths(node_probs, taxonomy)
        reached = prob >= (np.inf if threshold is None else threshold)
        reached[:, 0] = True
        deepest = reached.shape[1] - 1 - reached[:, ::-1].argmax(axis=1)
        named: IntArray = path[np.arange(len(path)), deepest]
        return named


def _paths(node_probs: torch.Tensor, taxonomy: Taxonomy) -> tuple[IntArray, FloatArray]:
    """Return the nodes from the root to the most probable leaf ``(B, L)``, and their probability.

    Of equally probable leaves it is the first; shorter ways end with their leaf again and -1.
    """
    depth = int(taxonomy.depth.max())
    paths, probs = [], []
    for block in prob_blocks(node_probs, taxonomy):
        leaf = taxonomy.leaves[block[:, taxonomy.leaves].argmax(axis=1)]
        way, counts = (found.numpy() for found in paths_to(taxonomy, torch.from_numpy(leaf)))
        missing = ((0, 0), (0, depth + 1 - way.shape[1]))  # other blocks go deeper
        way = np.pad(way, missing, mode="edge")
        prob = np.where(np.pad(counts, missing), block[np.arange(len(block))[:, None], way], _NEVER)
        paths.append(way)
        probs.append(prob)
    return np.concatenate(paths), np.concatenate(probs)
