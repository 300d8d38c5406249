"""Coordinates in which a covariance is the identity, also where there are too few images for it."""

import torch
from torch import Tensor

from taxonet.errors import ConfigError, DataError

#: An eigenvalue below this share of the largest one, times the number of features, is rounding.
_ROUNDING = torch.finfo(torch.float64).eps


def whitening(
    scatter: Tensor, *, images: int, degrees: int, shrinkage: float | None = None
) -> Tensor:
    r"""Return the matrix M for which ``|(x - m) M|^2`` is the squared Mahalanobis distance.

    .. math:: \Sigma = (1 - \lambda) \frac{S}{N} + \lambda \frac{\operatorname{tr} S}{N d} I,
        \quad M M^\top = \Sigma^{-1}

    A scatter S of fewer images than features cannot be inverted, and one of few more says too
    little of its small directions. So it is shrunk towards the scaled identity, by the share
    that makes the expected squared error least for Gaussian embeddings, `oas_shrinkage`: near 0
    for many images, 1 for a scatter of 0. A scatter of 0 (one image a class) has no scale either,
    and M is the identity: Mahalanobis distances are then Euclidean.

    Args:
        scatter: Sums of squares and products ``(d, d)``, float64.
        images: The number N that S is divided by.
        degrees: The degrees of freedom of S: N less the means that were estimated.
        shrinkage: The share lambda in [0, 1]; None for the one of `oas_shrinkage`. 0 is the papers'
            own covariance.

    Returns:
        float64 ``(d, d)``.

    Raises:
        ConfigError: A share outside [0, 1].
        DataError: A share of 0 and a singular scatter.

    Examples:
        >>> scatter = torch.tensor([[8.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
        >>> whitening(scatter, images=2, degrees=2, shrinkage=0.0).abs()  # variances 4 and 1
        tensor([[0.0000, 0.5000],
                [1.0000, 0.0000]], dtype=torch.float64)
    """
    dim = len(scatter)
    largest = float(scatter.diagonal().amax())
    if largest == 0:
        return torch.eye(dim, dtype=scatter.dtype, device=scatter.device)
    share = oas_shrinkage(scatter, degrees=degrees) if shrinkage is None else shrinkage
    if not 0 <= share <= 1:
        raise ConfigError(f"shrinkage must be None or in [0, 1], but is {share}.")
    # The eigenvalues are those of the covariance; the sum of the diagonal is their sum.
    values, vectors = torch.linalg.eigh(scatter / images)
    values = (1 - share) * values.clamp(min=0) + share * values.clamp(min=0).mean()
    if float(values[0]) <= _ROUNDING * dim * float(values[-1]):
        raise DataError(
            f"The covariance of {dim} features from {images} images has no inverse. Leave "
            "shrinkage out, or make it larger than 0."
        )
    found: Tensor = vectors / values.sqrt()
    return found


def oas_shrinkage(scatter: Tensor, *, degrees: int) -> float:
    r"""Return the oracle approximating shrinkage, a share in [0, 1].

    .. math:: \lambda = \min \Big( 1, \frac{(1 - 2/d) q + 1}{(n + 1 - 2/d)(q - 1/d)} \Big),
        \quad q = \frac{\operatorname{tr} S^2}{(\operatorname{tr} S)^2}

    with n degrees of freedom. q is 1/d where all directions have one variance, and the share is
    then 1: the matrix is the scaled identity already.

    Args:
        scatter: Sums of squares and products S ``(d, d)``, float64; their scale does not matter.
        degrees: n, at least 0.

    Reference:
        Chen, Wiesel, Eldar and Hero 2010, Shrinkage Algorithms for MMSE Covariance Estimation,
        arXiv 0907.4698, eq. 23.

    Examples:
        >>> scatter = torch.tensor([[9.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
        >>> round(oas_shrinkage(scatter, degrees=10), 6)  # q = 0.82: 1 / (10 * 0.32)
        0.3125
    """
    dim = len(scatter)
    trace = float(scatter.trace())
    if trace == 0:
        return 1.0
    spread = float((scatter / trace).square().sum())  # q; dividing first keeps squares in range
    excess = spread - 1 / dim
    if excess <= _ROUNDING:
        return 1.0
    correction = 2 / dim
    return min(1.0, ((1 - correction) * spread + 1) / ((degrees + 1 - correction) * excess))
