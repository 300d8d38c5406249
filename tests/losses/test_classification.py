import math

import pytest
import torch

from taxonet.losses import CrossEntropyLoss, cross_entropy_loss
from tests.reference.losses import cross_entropy


def test_equals_the_loop() -> None:
    logits = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([0, 1, 2, 3, 0, 1])
    slow = cross_entropy(logits.numpy(), target.tolist())
    assert cross_entropy_loss(logits, target).item() == pytest.approx(slow, rel=1e-12)


def test_equal_logits_cost_the_log_of_the_classes() -> None:
    loss = CrossEntropyLoss([9, 5, 1])
    assert loss(torch.zeros(2, 3), torch.tensor([0, 2])).item() == pytest.approx(math.log(3))


def test_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([[1e4, -1e4]], requires_grad=True)
    loss = cross_entropy_loss(logits, torch.tensor([1]))
    torch.autograd.backward(loss)
    assert loss.item() == 2e4
    assert logits.grad is not None
    assert logits.grad.tolist() == [[1.0, -1.0]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    logits = torch.tensor([[1.0, 2.0, 0.5]], dtype=dtype)
    half = cross_entropy_loss(logits, torch.tensor([0]))
    assert half.dtype is torch.float32
    assert half.item() == cross_entropy_loss(logits.float(), torch.tensor([0])).item()


def test_gradcheck() -> None:
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([3, 0, 1])
    assert torch.autograd.gradcheck(lambda x: cross_entropy_loss(x, target), (logits,))
