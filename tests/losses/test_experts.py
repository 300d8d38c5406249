from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from taxonet.errors import DataError
from taxonet.losses import ExpertLoss


class MeanScore(ExpertLoss):
    """The smallest loss of experts: the sum of their mean scores."""

    takes = "logits"
    scale = 1.0

    def joint(self, scores_of_experts: Sequence[Tensor], target: Tensor) -> Tensor:
        assert {scores.dtype for scores in scores_of_experts} <= {torch.float32, torch.float64}
        return torch.stack([scores.mean() for scores in scores_of_experts]).sum()


def test_the_scores_arrive_in_float32_at_least() -> None:
    loss = MeanScore([3, 1])
    halves = [torch.full((2, 2), 0.5, dtype=torch.float16)] * 2
    assert loss(halves, torch.tensor([0, 1])).dtype is torch.float32
    assert loss([half.double() for half in halves], torch.tensor([0, 1])).item() == 1.0


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (torch.zeros(3, 2, 2), "a list with the logits of at least 2 experts"),
        ([torch.zeros(2, 2)], "a list with the logits of at least 2 experts"),
        ([torch.zeros(2, 2), torch.zeros(2, 3)], r"2 classes.*from every expert.*\(2, 3\)"),
        ([torch.zeros(2, 2), torch.zeros(2)], r"\(B, 2\) from every expert.*\(2,\)"),
        ([torch.zeros(2, 2), torch.zeros(3, 2)], r"int64 of shape \(3,\)"),
        ([torch.zeros(2, 2), torch.zeros(2, 2, dtype=torch.int64)], "torch.int64"),
    ],
)
def test_wrong_scores_are_named(scores: Sequence[Tensor], message: str) -> None:
    with pytest.raises(DataError, match=message):
        MeanScore([3, 1])(scores, torch.tensor([0, 1]))
