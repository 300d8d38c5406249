"""What turns off the path to the target, depth by depth, in the logarithm."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

#: Stands for the logarithm of nothing: finite, so that no gradient becomes inf - inf.
NOTHING = -1e30

#: Bins of each depth. Most scores belong to one or two depths, and a processor that adds to one
#: place again and again waits for each sum: with several places in turn it is twice as fast.
_SPREAD = 16


#: How far apart scores may lie for one softmax of them all to lose none, e^-60 being far from 0.
_FAR = 60


class _LogSumExpByDepth(torch.autograd.Function):
    """The sum of exponentials of each bin of each row; composed of plain steps it costs twice."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, bins: Tensor, count: int) -> Tensor:
        peaks = scores.amax(1, keepdim=True)
        if bool((peaks - scores.amin(1, keepdim=True)).max() > _FAR):
            peaks = scores.new_full((len(scores), count), NOTHING)
            peaks = peaks.scatter_reduce_(1, bins, scores, "amax")
            terms = (scores - peaks.gather(1, bins)).softmax(1)
        else:
            terms = scores.softmax(1)
        total = scores.new_zeros(len(scores), count).scatter_add_(1, bins, terms)
        ctx.save_for_backward(bins, terms, total)
        # The largest term is 1 / sum of e^(score - its peak).
        logs = (total / terms.amax(1, keepdim=True)).log() + peaks
        return torch.where(total > 0, logs, NOTHING)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        bins, terms, total = ctx.saved_tensors
        share = torch.where(total > 0, grad / total, 0)
        return share.gather(1, bins).mul_(terms), None, None


def logsumexp_by_depth(scores: Tensor, depths: Tensor, count: int) -> Tensor:
    """Return the logarithm of the sum of exponentials of the scores of each depth, ``(B, count)``.

    Args:
        scores: ``(B, m)``, finite.
        depths: Where each score belongs ``(B, m)``, whole numbers in 0..count-1.
        count: The number of depths.

    Returns:
        ``(B, count)``; `NOTHING` where a depth has no score. Differentiable once.

    Examples:
        >>> scores = torch.tensor([[0.25, 0.5, 0.25]]).log()
        >>> logsumexp_by_depth(scores, torch.tensor([[0, 1, 0]]), 2).exp()
        tensor([[0.5000, 0.5000]])
    """
    columns = torch.arange(scores.shape[1], dtype=depths.dtype, device=depths.device)
    bins = (depths + count * (columns % _SPREAD)).long()
    sums: Tensor = _LogSumExpByDepth.apply(  # type: ignore[no-untyped-call]
        scores, bins, count * _SPREAD
    )
    return sums.view(-1, _SPREAD, count).logsumexp(1)


def log1p_exp(values: Tensor) -> Tensor:
    """Return ``log(1 + e^x)``, exact where torch's softplus turns to x (above 20) as well.

    Examples:
        >>> log1p_exp(torch.tensor([0.0, 1e4, -20.0]))
        tensor([6.9315e-01, 1.0000e+04, 2.0612e-09])
    """
    return -torch.nn.functional.logsigmoid(-values)
