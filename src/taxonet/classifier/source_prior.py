"""Which priors the probabilities of a classifier imply, as far as its recipe tells."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from taxonet.recipes import Recipe

SourcePrior = Literal["counts", "uniform"]


class PriorChange(NamedTuple):
    """Priors of the classes, ``(c,)`` each: behind the probabilities, and where photos are from.

    Only the ratios inside either count; `taxonet.inference.with_priors` applies them.
    """

    source: NDArray[np.float64]
    target: NDArray[np.float64]


#: Losses that take how common a class is out of the scores.
_BALANCED_LOSSES = frozenset(("balanced_softmax", "logit_adjustment", "image_text"))
_BALANCED_BASE = "bs"


def implied_prior(recipe: Recipe) -> SourcePrior:
    """Return the priors behind the probabilities of a classifier of that recipe.

    They are ``uniform`` where something makes all classes count alike: a loss that is adjusted by
    the logarithms of the counts (``balanced_softmax``, ``logit_adjustment``, ``base: bs``), or
    compares a photo with the names of its batch alone, where common ones are common
    (``image_text``), the
    sampler ``class_balanced``, or a second stage, which sees class-balanced batches. Otherwise
    they are the ``counts`` of training photos. For margins, class weights and other samplers the
    truth lies between, and the recipe does not tell where.

    Examples:
        >>> [implied_prior(Recipe(loss=loss)) for loss in ("cross_entropy", "balanced_softmax")]
        ['counts', 'uniform']
    """
    balanced = (
        recipe.loss.name in _BALANCED_LOSSES
        or recipe.loss.options.get("base") == _BALANCED_BASE
        or recipe.sampler.name == "class_balanced"
        or recipe.second_stage is not None
    )
    return "uniform" if balanced else "counts"


def prior_weights(prior: SourcePrior, class_counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the share of each class under a prior, ``(c,)``.

    Examples:
        >>> prior_weights("counts", np.array([3, 1])), prior_weights("uniform", np.array([3, 1]))
        (array([0.75, 0.25]), array([0.5, 0.5]))
    """
    weights = class_counts if prior == "counts" else np.ones(len(class_counts))
    return np.asarray(weights / weights.sum(), dtype=np.float64)
