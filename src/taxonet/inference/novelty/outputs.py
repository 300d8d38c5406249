"""Novelty from what the network puts out for one image; nothing is fitted.

Half precision is raised to float32 first, since neighbouring novelties would tie in it.
"""

import torch
from torch import Tensor

from taxonet.registry import NOVELTY_SCORES


@NOVELTY_SCORES.register("max_softmax")
def max_softmax(embedding: Tensor, scores: Tensor, scale: float) -> Tensor:
    """Return one minus the largest class probability, in [0, 1 - 1/c].

    ``novelty = 1 - max_k p_k`` with ``p = softmax(scale * scores)``, computed as the
    probability of all other classes: the plain difference is 0 for every image whose largest
    probability is within 6e-8 of 1, and these are most images of a good classifier.

    Reference:
        Hendrycks and Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution
        Examples in Neural Networks, arXiv 1610.02136.

    Examples:
        >>> scores = torch.tensor([[0.0, 0.0], [30.0, 0.0]])
        >>> [f"{novelty:.3g}" for novelty in max_softmax(torch.zeros(2, 1), scores, 1.0).tolist()]
        ['0.5', '9.36e-14']
    """
    logits = _logits(scores, scale)
    largest, winner = logits.max(dim=1, keepdim=True)
    odds = (logits - largest).exp().scatter(1, winner, 0.0).sum(dim=1)  # of the others: winner
    return odds / (1 + odds)


@NOVELTY_SCORES.register("max_logit")
def max_logit(embedding: Tensor, scores: Tensor, scale: float) -> Tensor:
    """Return the negated largest logit, ``-max_k scale * s_k``.

    With a cosine head it is the (scaled) distance to the nearest prototype up to a constant.

    Reference:
        Hendrycks et al., Scaling Out-of-Distribution Detection for Real-World Settings,
        arXiv 1911.11132.

    Examples:
        >>> max_logit(torch.zeros(1, 1), torch.tensor([[0.25, 0.75]]), 32.0).tolist()
        [-24.0]
    """
    return -_logits(scores, scale).amax(dim=1)


@NOVELTY_SCORES.register("energy")
def energy(embedding: Tensor, scores: Tensor, scale: float) -> Tensor:
    """Return the free energy at temperature 1, ``-log sum_k exp(scale * s_k)``.

    Reference:
        Liu et al., Energy-based Out-of-distribution Detection, arXiv 2010.03759.

    Examples:
        >>> energy(torch.zeros(1, 1), torch.tensor([[1.0, 1.0]]), 2.0).tolist()  # -(2 + log 2)
        [-2.6931471824645996]
    """
    return -_logits(scores, scale).logsumexp(dim=1)


@NOVELTY_SCORES.register("entropy")
def entropy(embedding: Tensor, scores: Tensor, scale: float) -> Tensor:
    """Return the entropy of the class probabilities, ``-sum_k p_k log p_k``, in [0, log c] nats.

    Examples:
        >>> entropy(torch.zeros(1, 1), torch.tensor([[3.0, 3.0]]), 1.0).tolist()  # log 2
        [0.6931471824645996]
    """
    parts: Tensor = torch.special.entr(_logits(scores, scale).softmax(dim=1))
    return parts.sum(dim=1)


@NOVELTY_SCORES.register("embedding_norm")
def embedding_norm(embedding: Tensor, scores: Tensor, scale: float) -> Tensor:
    """Return the negated Euclidean norm of the embedding, ``-|x|``.

    The norm grows with the quality of an image only under margin losses of the AM-Softmax
    family (a loss says so in ``norm_is_meaningful``); after other losses it means little.

    Reference:
        Meng et al., MagFace: A Universal Representation for Face Recognition and Quality
        Assessment, arXiv 2103.06627.

    Examples:
        >>> embedding_norm(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2), 1.0).tolist()
        [-5.0]
    """
    norm: Tensor = torch.linalg.vector_norm(_at_least_float32(embedding), dim=1)
    return -norm


def _logits(scores: Tensor, scale: float) -> Tensor:
    return scale * _at_least_float32(scores)


def _at_least_float32(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
