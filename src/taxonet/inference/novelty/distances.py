"""Distances to the nearest of many points."""

import torch
from torch import Tensor


def nearest_squared_distance(points: Tensor, centres: Tensor, allowed: Tensor) -> Tensor:
    """Return the squared Euclidean distance from each point to the nearest allowed centre.

    The nearest is found by inner products, and its distance computed from the difference: it is
    as exact as a loop, at the cost of one matrix product.

    Args:
        points: float64 ``(B, d)``.
        centres: float64 ``(m, d)``.
        allowed: Booleans ``(m,)``, which centres count; at least one.

    Returns:
        float64 ``(B,)``.

    Examples:
        >>> points = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
        >>> centres = torch.tensor([[0.0, 1.0], [3.0, 5.0]], dtype=torch.float64)
        >>> nearest_squared_distance(points, centres, torch.tensor([False, True])).tolist()
        [25.0]
    """
    with torch.no_grad():
        # Without |x|^2, which all centres share.
        compared = centres.square().sum(dim=1) - 2 * points @ centres.T
        nearest = compared.masked_fill(~allowed, torch.inf).argmin(dim=1)
    return (points - centres[nearest]).square().sum(dim=1)


def unit_length(vectors: Tensor) -> Tensor:
    """Return the vectors ``(B, d)`` at norm 1; those of norm 0 have no direction and stay 0.

    Examples:
        >>> unit_length(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    # Dividing by the largest part first keeps the squares of tiny and huge vectors in range.
    largest = vectors.abs().amax(dim=1, keepdim=True)
    scaled = vectors / torch.where(largest == 0, 1, largest)
    norm = scaled.norm(dim=1, keepdim=True)
    return scaled / torch.where(norm == 0, 1, norm)
