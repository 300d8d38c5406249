"""How sure an image is of a wrong name: the one number that every threshold is judged by.

As the threshold falls, the name goes down a chain of nodes; once it has left the way to the truth
it never comes back. So the loss of an image at threshold t, 1 for a wrong name and 0 for a right
one or none, is ``1{t <= w}`` for one number w, and the risk at all thresholds is the distribution
of w. For scores that are no distribution, a deeper name can be right again; then 1 from w on
downwards is an upper bound of the loss, and what keeps the bound keeps the loss.
"""

import numpy as np
from numpy.typing import ArrayLike

from taxonet.inference.decision.likely import PROB_DECIMALS, FloatArray, LikelyNodes
from taxonet.inference.decision.naming import names_as_threshold_falls
from taxonet.inference.decision.truth import checked_truth, is_on_path
from taxonet.taxonomy import Taxonomy

_STEP = 10.0**-PROB_DECIMALS


def wrong_up_to(taxonomy: Taxonomy, likely: LikelyNodes, truth_nodes: ArrayLike) -> FloatArray:
    """Return the highest threshold at which each image gets a wrong name.

    A name is wrong if it is neither the truth nor an ancestor of it.

    Args:
        taxonomy: The tree.
        likely: Likely nodes of N images.
        truth_nodes: Integers ``(N,)``, the true node of each, at any depth; of an unknown taxon
            its deepest ancestor in the tree.

    Returns:
        float64 ``(N,)``, at least 0.5; 0 for an image that no threshold names wrongly.

    Raises:
        DataError: Not exactly one true node per image.

    Examples:
        >>> from taxonet.inference.decision import likely_nodes
        >>> import torch
        >>> tree = Taxonomy.from_edges([("root", "Acer"), ("Acer", "A. rubrum"), ("root", "Tilia")])
        >>> likely = likely_nodes(torch.tensor([[1.0, 0.75, 0.25, 0.625]] * 3))
        >>> wrong_up_to(tree, likely, [3, 1, 2]).tolist()  # the species, its genus, a linden
        [0.0, 0.625, 0.75]
    """
    truth = checked_truth(truth_nodes, likely.n_images, taxonomy)
    order, best = names_as_threshold_falls(taxonomy, likely)
    image, prob = likely.image[order], likely.prob[order]
    # Of equal probabilities in one image, the name after the last one is the one that is given.
    last = (np.diff(image, append=-1) != 0) | (np.diff(prob, append=-1.0) != 0)
    wrong = last & ~is_on_path(taxonomy, likely.node[best], truth[image])
    highest = np.zeros(likely.n_images)
    np.maximum.at(highest, image[wrong], prob[wrong])
    return highest


def named_up_to(likely: LikelyNodes) -> FloatArray:
    """Return the highest threshold at which each image gets a name below the root, 0 if none.

    Examples:
        >>> named_up_to(LikelyNodes(2, np.array([0, 0]), np.array([1, 3]), np.array([0.75, 0.5])))
        array([0.75, 0.  ])
    """
    highest = np.zeros(likely.n_images)
    np.maximum.at(highest, likely.image, likely.prob)
    return highest


def threshold_leaving(wrong_prob: FloatArray, *, wrong: int, lowest_prob: float) -> float | None:
    """Return the smallest threshold at which at most so many images are named wrongly.

    The candidates are all numbers of 6 decimals from ``lowest_prob`` to 1. They are fixed before
    any image is seen, and probabilities are rounded to 6 decimals, so none is missing.

    Args:
        wrong_prob: float64 ``(N,)``, what `wrong_up_to` says.
        wrong: How many wrong names are allowed; below 0 nothing is.
        lowest_prob: The lowest candidate.

    Returns:
        A threshold, or None where even names of probability 1 are wrong too often.

    Examples:
        >>> wrong_prob = np.array([0.0, 0.7, 0.9, 0.8])
        >>> [threshold_leaving(wrong_prob, wrong=k, lowest_prob=0.5) for k in (-1, 0, 1, 3, 4)]
        [None, 0.900001, 0.800001, 0.5, 0.5]
    """
    if wrong < 0:
        return None
    if wrong >= len(wrong_prob):
        return lowest_prob
    place = len(wrong_prob) - 1 - wrong
    one_too_many = float(np.partition(wrong_prob, place)[place])
    threshold = max(round(one_too_many + _STEP, PROB_DECIMALS), lowest_prob)
    return threshold if threshold <= 1 else None
