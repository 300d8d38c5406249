"""The running covariance of a class as a factor of r columns, brought up to date by new samples."""

import torch
from torch import Tensor


def combined_factor(factor: Tensor, centred: Tensor, share: Tensor) -> Tensor:
    """Return the factor of ``(1 - a) L L^T + a X^T X / m``, cut to its r largest directions.

    The sum is ``M M^T`` with ``M = [sqrt(1 - a) L, sqrt(a / m) X^T]``, and the leading eigenvectors
    of whichever of ``M^T M`` and ``M M^T`` is smaller give the new columns. What is cut is lost
    for good, so that ``L L^T`` never exceeds the whole covariance (in the order of positive
    semi-definite matrices); it equals it as long as its rank is at most r.

    Shape:
        ``factor`` ``(U, C, r)``; ``centred`` ``(U, m, C)``, samples less their mean; ``share``
        ``(U,)``, the a of each class; ``(U, C, r)`` comes back, the largest direction last.

    Examples:
        >>> samples = torch.tensor([[[3.0, 0.0], [-3.0, 0.0]]])
        >>> factor = combined_factor(torch.zeros(1, 2, 1), samples, torch.tensor([0.5]))
        >>> (factor @ factor.transpose(1, 2)).round(decimals=4).tolist()
        [[[4.5, 0.0], [0.0, 0.0]]]
    """
    rank, samples = factor.shape[2], centred.shape[1]
    old = (1 - share).sqrt()[:, None, None] * factor
    new = (share / samples).sqrt()[:, None, None] * centred.transpose(1, 2)
    columns = torch.cat([old, new], dim=2)  # (U, C, r + m)
    if columns.shape[2] <= columns.shape[1]:
        _, vectors = torch.linalg.eigh(columns.transpose(1, 2) @ columns)
        # M v has the norm of its singular value by itself: no division by a small eigenvalue.
        leading: Tensor = columns @ vectors[:, :, -rank:]
    else:
        values, vectors = torch.linalg.eigh(columns @ columns.transpose(1, 2))
        leading = vectors[:, :, -rank:] * values[:, None, -rank:].clamp_min(0).sqrt()
    return leading
