"""Ranges of unequal length, one behind the other, and sums over each."""

import torch
from torch import Tensor


def concatenated_ranges(first: Tensor, stop: Tensor) -> tuple[Tensor, Tensor]:
    """Return the items of all ranges and the index of the range that each comes from.

    Args:
        first: The first item of each range, int64 ``(R,)``.
        stop: One past the last ``(R,)``, at least ``first``.

    Examples:
        >>> concatenated_ranges(torch.tensor([5, 0, 2]), torch.tensor([7, 0, 3]))
        (tensor([5, 6, 2]), tensor([0, 0, 2]))
    """
    counts = stop - first
    owner = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    skipped = counts.cumsum(0) - counts - first
    return torch.arange(len(owner), device=owner.device) - skipped[owner], owner


def segment_log_softmax(values: Tensor, owner: Tensor, segments: int) -> Tensor:
    """Return the log-softmax of each value among those of its segment, ``(T,)``.

    Args:
        values: ``(T,)``, finite.
        owner: The segment of each value, int64 ``(T,)`` in 0..segments-1.
        segments: Their number.

    Examples:
        >>> values = torch.tensor([1.0, 1.0, 5.0])
        >>> segment_log_softmax(values, torch.tensor([0, 0, 1]), 2).exp()
        tensor([0.5000, 0.5000, 1.0000])
    """
    # Less the maximum first, then less the logarithm: near 0 the result keeps its precision.
    shifted = values - _peaks(values, owner, segments)[owner]
    total = values.new_zeros(segments).index_add(0, owner, shifted.exp())
    return shifted - total.log()[owner]


def segment_logsumexp(values: Tensor, owner: Tensor, segments: int) -> Tensor:
    """Return the logarithm of the sum of exponentials of each segment, ``(segments,)``.

    Args:
        values: ``(T,)``; -inf is allowed beside finite ones.
        owner: The segment of each value, int64 ``(T,)``; each segment has a finite value.
        segments: Their number.

    Examples:
        >>> values = torch.tensor([0.25, 0.25, 0.5]).log()
        >>> segment_logsumexp(values, torch.tensor([0, 0, 1]), 2).exp()
        tensor([0.5000, 0.5000])
    """
    peaks = _peaks(values, owner, segments)
    total = values.new_zeros(segments).index_add(0, owner, (values - peaks[owner]).exp())
    return total.log() + peaks


def _peaks(values: Tensor, owner: Tensor, segments: int) -> Tensor:
    lowest = torch.full((segments,), -torch.inf, dtype=values.dtype, device=values.device)
    return lowest.scatter_reduce(0, owner, values.detach(), "amax")
