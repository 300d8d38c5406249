"""What a tail class borrows from a head class: the matrices of SMART's eq. 4 to 6."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from taxonet.errors import ConfigError
from taxonet.losses.checks import check_number
from taxonet.training.covariance.matrices import Covariances
from taxonet.training.covariance.statistics import ClassMoments
from taxonet.training.covariance.weights import sample_weights

#: Added to the variances of eq. 6.
EPSILON = 1e-8

#: A pair of classes with a larger entry in its transfer matrix is left alone: sums of a few
#: thousand such entries times large features still fit float32.
LARGEST_ENTRY = 1e15


@dataclass(frozen=True)
class TransferOptions:
    """How covariance is transferred.

    Args:
        tau: The factor tau > 0 inside the softmax of eq. 4; larger is sharper.
        normalise: What S is. ``none`` is eq. 4 as printed, in the fourth power of the features'
            unit; ``correlation`` makes its entries cosines; see `semantic_covariances`.
        weight_min: The lower end of the weights, at least 0: a negative weight would teach the
            opposite.
        weight_max: The upper end of the weights: what one image may outweigh in a batch.

    Raises:
        ConfigError: An option out of its range.
    """

    tau: float = 32.0
    normalise: Literal["correlation", "none"] = "correlation"
    weight_min: float = 0.1
    weight_max: float = 10.0

    def __post_init__(self) -> None:
        if check_number("tau", self.tau, at_least=0) == 0:
            raise ConfigError("tau must be above 0, but is 0.")
        if self.normalise not in ("correlation", "none"):
            raise ConfigError(
                f"normalise must be 'correlation' or 'none', but is {self.normalise!r}."
            )
        check_number("weight_min", self.weight_min, at_least=0)
        check_number("weight_max", self.weight_max, at_least=self.weight_min)


DEFAULTS = TransferOptions()


def semantic_covariances(
    tail: ClassMoments, head: ClassMoments, options: TransferOptions = DEFAULTS
) -> Tensor:
    """Return ``Sigma_th = softmax(tau S) * S`` of P pairs of classes, ``(P, C, C)``.

    The softmax runs over the last dimension, the channels of the head. ``S`` is

    - ``none``: ``Sigma_t^T Sigma_h``, in the fourth power of the features' unit;
    - ``correlation``: ``S_jk`` in [-1, 1], the cosine between row j of the tail's correlation
      matrix and row k of the head's: how alike the roles of the two channels are. A channel
      without variance has the cosine 0 with every other.

    Reference:
        Zhang et al., Semantic Transfer from Head to Tail, eq. 4 and 5; ``correlation`` is ours.

    Examples:
        >>> from taxonet.training.covariance.statistics import ClassStatistics
        >>> statistics = ClassStatistics(1, 2)
        >>> statistics.update(torch.tensor([[[[1.0, -1.0]], [[2.0, -2.0]]]]), torch.tensor([0]))
        >>> one = statistics.moments(torch.tensor([0]))
        >>> semantic_covariances(one, one)  # two channels with one role: halves
        tensor([[[0.5000, 0.5000],
                 [0.5000, 0.5000]]])
    """
    if options.normalise == "none":
        products = tail.covariance.times(head.covariance)
    else:
        products = _role_cosines(tail, head)
    return torch.softmax(options.tau * products, dim=2).mul_(products)


def transfer_matrices(
    tail: ClassMoments, head: ClassMoments, options: TransferOptions = DEFAULTS
) -> tuple[Tensor, Tensor]:
    """Return what deviations from the tail's mean are multiplied by, and the weights.

    ``F~ = (F - mu_t) A + mu_t`` with ``A = Sigma_th / sqrt(sigma_t^2 + eps)`` by rows (eq. 6). The
    entries of ``correlation`` have no unit, so that A gets the head's standard deviations by
    columns: ``A_jk = Sigma_th[j, k] sigma_h[k] / sqrt(sigma_t[j]^2 + eps)``.

    A pair whose A is not finite or too large gets the identity and the weight 1.

    Returns:
        ``(P, C, C)`` and ``(P,)``, the weights in their range.
    """
    shared = semantic_covariances(tail, head, options)
    weights = sample_weights(shared, lowest=options.weight_min, highest=options.weight_max)
    # In place: passing over a C x C matrix for each pair is what takes the time.
    matrices = shared.mul_((tail.variance + EPSILON).rsqrt().unsqueeze(2))
    if options.normalise == "correlation":
        matrices.mul_(head.variance.sqrt().unsqueeze(1))
    largest: Tensor = torch.linalg.vector_norm(matrices, ord=torch.inf, dim=(1, 2))
    unsound = ~(largest <= LARGEST_ENTRY)  # nan is not at most anything
    matrices[unsound] = torch.eye(matrices.shape[1]).to(matrices)
    return matrices, weights.masked_fill(unsound, 1.0)


def _role_cosines(tail: ClassMoments, head: ClassMoments) -> Tensor:
    ours, theirs = _correlation(tail), _correlation(head)
    products = ours.times(theirs)
    products *= _inverse(ours.row_norms()).unsqueeze(2)
    products *= _inverse(theirs.row_norms()).unsqueeze(1)
    return products.clamp_(-1, 1)  # rounding may leave a cosine a hair beyond


def _correlation(moments: ClassMoments) -> Covariances:
    return moments.covariance.scaled(_inverse(moments.variance.sqrt()))


def _inverse(values: Tensor) -> Tensor:
    """Return ``1 / value``, and 0 for 0."""
    return torch.where(values > 0, values.reciprocal(), 0.0)
