"""A softmax of which only a few logarithms are wanted."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _PickedLogSoftmax(torch.autograd.Function):
    """Composed of plain steps it makes two more tables of all scores for the gradient."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        probs = scores.softmax(1)
        ctx.save_for_backward(probs, rows, columns)
        # The largest probability is 1 / sum of e^(score - largest score).
        log_sum = scores.amax(1) - probs.amax(1).log()
        return scores[rows, columns] - log_sum[rows]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        probs, rows, columns = ctx.saved_tensors
        of_row = grad.new_zeros(len(probs)).index_add_(0, rows, grad)
        gradient = probs * -of_row.unsqueeze(1)
        return gradient.index_put_((rows, columns), grad, accumulate=True), None, None


def picked_log_softmax(scores: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return some log-probabilities of a softmax over each row.

    Args:
        scores: ``(B, m)``.
        rows: Where they stand, int64 ``(T,)`` in 0..B-1; one may be asked for several times.
        columns: ``(T,)`` in 0..m-1.

    Returns:
        ``(T,)``. Differentiable once.

    Examples:
        >>> scores = torch.tensor([[0.5, 0.25, 0.25], [0.0, 0.0, 0.0]])
        >>> picked_log_softmax(scores.log_softmax(1), torch.tensor([1]), torch.tensor([2])).exp()
        tensor([0.3333])
    """
    result: Tensor = _PickedLogSoftmax.apply(  # type: ignore[no-untyped-call]
        scores, rows, columns
    )
    return result
