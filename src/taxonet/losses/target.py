"""The score of the target in each row: read it, or put another in its place."""

from torch import Tensor


def target_scores(scores: Tensor, target: Tensor) -> Tensor:
    """Return the score of each row's target, ``(B,)``.

    Examples:
        >>> import torch
        >>> target_scores(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1, 0]))
        tensor([2., 3.])
    """
    return scores.gather(1, target.unsqueeze(1)).squeeze(1)


def with_target_scores(scores: Tensor, target: Tensor, values: Tensor) -> Tensor:
    """Return the scores ``(B, c)`` with ``values`` ``(B,)`` in the place of the targets' scores.

    Examples:
        >>> import torch
        >>> with_target_scores(torch.zeros(2, 2), torch.tensor([1, 0]), torch.tensor([5.0, 6.0]))
        tensor([[0., 5.],
                [6., 0.]])
    """
    return scores.scatter(1, target.unsqueeze(1), values.to(scores.dtype).unsqueeze(1))
