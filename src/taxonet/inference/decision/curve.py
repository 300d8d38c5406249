"""Names on calibration images at every threshold, and the threshold that this suggests."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from taxonet.errors import ConfigError
from taxonet.inference.decision.likely import (
    LOWEST_THRESHOLD_PROB,
    FloatArray,
    IntArray,
    LikelyNodes,
)
from taxonet.inference.decision.naming import names_as_threshold_falls
from taxonet.inference.decision.truth import checked_truth, is_on_path
from taxonet.taxonomy import Taxonomy


class NamingCurve(NamedTuple):
    """What happens to calibration images at every threshold that changes a name, highest first.

    Attributes:
        threshold_prob: float64 ``(t,)``, distinct observed probabilities, descending.
        named: int64 ``(t,)``, images named below the root at that threshold; at least 1.
        right: int64 ``(t,)``, how many of them rightly.
    """

    threshold_prob: FloatArray
    named: IntArray
    right: IntArray


def naming_curve(taxonomy: Taxonomy, likely: LikelyNodes, truth_nodes: ArrayLike) -> NamingCurve:
    """Count the named and the rightly named images at every threshold of at least 0.5.

    A name is right if the named node is the truth or an ancestor of it. The names at a threshold
    are those of `deepest_reaching`; the cost is that of sorting the entries.

    Args:
        taxonomy: The tree.
        likely: Likely nodes of N calibration images.
        truth_nodes: Integers ``(N,)``, the true node of each image, at any depth. For an unknown
            taxon it is its deepest ancestor in the tree.

    Raises:
        DataError: Not exactly one true node per image.

    Examples:
        >>> import torch
        >>> from taxonet.inference.decision import likely_nodes
        >>> tree = Taxonomy.from_edges([("root", "Acer"), ("root", "Quercus")])
        >>> probs = torch.tensor([[1.0, 0.75, 0.25], [1.0, 0.625, 0.375]])
        >>> curve = naming_curve(tree, likely_nodes(probs), [1, 2])
        >>> curve.threshold_prob.tolist(), curve.named.tolist(), curve.right.tolist()
        ([0.75, 0.625], [1, 2], [1, 1])
    """
    truth = checked_truth(truth_nodes, likely.n_images, taxonomy)
    order, best = names_as_threshold_falls(taxonomy, likely)
    image = likely.image[order]
    right = is_on_path(taxonomy, likely.node[best], truth[image]).astype(np.int64)
    first = (np.diff(image, prepend=-1) > 0).astype(np.int64)  # first name below the root
    more_right = right - np.where(first, 0, np.roll(right, 1))
    falling = np.argsort(-likely.prob[order], kind="stable")
    probs = likely.prob[order][falling]
    last_of_value = np.flatnonzero(np.diff(probs, append=-1.0) != 0)
    return NamingCurve(
        threshold_prob=probs[last_of_value],
        named=np.cumsum(first[falling])[last_of_value],
        right=np.cumsum(more_right[falling])[last_of_value],
    )


def calibrate_threshold(curve: NamingCurve, *, accuracy: float = 0.95) -> float | None:
    """Return the smallest threshold at which the names are right often enough.

    Candidates are 0.5, the observed probabilities, and 1. The answer is the smallest candidate at
    which the share of right names among the images named below the root is at least ``accuracy``
    (true where no image is named). Larger thresholds, which name fewer images, may miss it: one
    wrong label among the surest names must not silence a classifier that is right below.

    This describes the calibration images. New images of the same kind come near it; it is no
    guarantee with a stated probability; `RiskControlled` gives one.

    Args:
        curve: The curve of calibration images that were not trained on.
        accuracy: Share of right names to reach, in (0, 1].

    Returns:
        A threshold in [0.5, 1], or None where even names of probability 1 are wrong too often.

    Raises:
        ConfigError: An accuracy outside (0, 1].

    Examples:
        >>> curve = NamingCurve(np.array([0.9, 0.8, 0.7, 0.6]), np.array([10, 20, 30, 40]),
        ...                     np.array([9, 19, 29, 36]))
        >>> calibrate_threshold(curve, accuracy=0.95)  # shares 0.9, 0.95, 0.967 and 0.9
        0.7
    """
    if not 0 < accuracy <= 1:
        raise ConfigError(f"Expected an accuracy in (0, 1], got {accuracy}.")
    thresholds = len(curve.threshold_prob)
    holding = np.flatnonzero(curve.right / curve.named >= accuracy)
    if thresholds == 0 or (holding.size and holding[-1] == thresholds - 1):
        return LOWEST_THRESHOLD_PROB  # no name changes below the smallest observed probability
    if holding.size:
        return float(curve.threshold_prob[holding[-1]])
    return 1.0 if curve.threshold_prob[0] < 1 else None
