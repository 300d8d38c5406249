import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import ConfigError
from taxonet.losses import FocalLoss, cross_entropy_loss, focal_loss
from tests.reference.long_tail_losses import focal
from tests.reference.scores import Batch, extreme_batch, permute_classes, random_batch

HALVES = [torch.float16, torch.bfloat16]
FOCUSES = [0.0, 0.1, 0.5, 1.0, 2.0, 5.0]


# (a) against the loop


@given(
    focus=st.floats(0, 5),
    rows=st.integers(1, 5),
    classes=st.integers(2, 6),
    seed=st.integers(0, 1000),
)
def test_equals_the_loop(focus: float, rows: int, classes: int, seed: int) -> None:
    logits, target = random_batch(rows, classes, seed, spread=5.0)
    slow = focal(logits.numpy(), target.tolist(), focus=focus)
    assert focal_loss(logits, target, focus=focus).item() == pytest.approx(slow, rel=1e-9)
    loss = FocalLoss([1] * classes, focus=focus)
    assert loss(logits, target).item() == pytest.approx(slow, rel=1e-9)


# (b) figures by hand


def test_a_case_by_hand() -> None:
    # p = 4/5 and 1/5: (1/5)^2 log(5/4) = 0.0089257 and (4/5)^2 log 5 = 1.0300402.
    logits = torch.log(torch.tensor([[4.0, 1.0], [4.0, 1.0]]))
    value = focal_loss(logits, torch.tensor([0, 1]), focus=2.0)
    assert value.item() == pytest.approx((0.0089257 + 1.0300402) / 2, rel=1e-6)


# (c) identities


@given(seed=st.integers(0, 1000))
def test_no_focus_is_cross_entropy(seed: int) -> None:
    logits, target = random_batch(5, 4, seed, spread=8.0)
    plain = cross_entropy_loss(logits, target)
    torch.testing.assert_close(focal_loss(logits, target, focus=0.0), plain, rtol=1e-12, atol=0)


@given(seed=st.integers(0, 1000), shift=st.floats(-50, 50))
def test_a_common_shift_changes_nothing(seed: int, shift: float) -> None:
    logits, target = random_batch(5, 4, seed, spread=3.0)
    torch.testing.assert_close(
        focal_loss(logits + shift, target, focus=2.0),
        focal_loss(logits, target, focus=2.0),
        rtol=1e-9,
        atol=0,
    )


def test_more_focus_costs_less_and_most_where_the_answer_is_right() -> None:
    logits, target = torch.tensor([[3.0, 0.0], [0.0, 3.0]]), torch.tensor([0, 0])
    plain = FocalLoss([1, 1], focus=0.0).per_image(logits, target)
    focused = FocalLoss([1, 1], focus=2.0).per_image(logits, target)
    share = focused / plain
    assert share[0] < 0.003
    assert 0.9 < share[1] < 1


# (d) gradients and numbers at the edge


@pytest.mark.parametrize("focus", FOCUSES)
def test_gradcheck(focus: float) -> None:
    logits, target = random_batch(4, 4, spread=4.0)
    assert torch.autograd.gradcheck(
        lambda x: focal_loss(x, target, focus=focus), (logits.requires_grad_(),)
    )


@pytest.mark.parametrize("focus", FOCUSES)
@pytest.mark.parametrize("dtype", [*HALVES, torch.float32, torch.float64])
@pytest.mark.parametrize("end", [60.0, 3e4])
def test_finite_however_sure(focus: float, dtype: torch.dtype, end: float) -> None:
    logits, target = extreme_batch(end, dtype)
    logits.requires_grad_()
    value = focal_loss(logits, target, focus=focus)
    torch.autograd.backward(value)
    assert value.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad.abs().sum() > 0


@pytest.mark.parametrize("focus", [0.5, 2.0])
def test_a_probability_that_rounds_to_one_keeps_its_loss(focus: float) -> None:
    # 1 - p = e^-30 / (1 + e^-30), far below the steps of float32 near 1; -log p is the same.
    logits = torch.tensor([[30.0, 0.0]], requires_grad=True)
    assert logits.softmax(1)[0, 0].item() == 1.0
    value = focal_loss(logits, torch.tensor([0]), focus=focus)
    expected = torch.tensor(-30.0 * (1 + focus), dtype=torch.float64).exp().item()
    assert value.item() == pytest.approx(expected, rel=1e-5)
    torch.autograd.backward(value)
    assert logits.grad is not None
    assert logits.grad[0, 0].item() == pytest.approx(-(1 + focus) * expected, rel=1e-5)


@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    logits, target = random_batch(4, 4, spread=5.0)
    half = focal_loss(logits.to(dtype), target, focus=2.0)
    assert half.dtype is torch.float32
    assert torch.equal(half, focal_loss(logits.to(dtype).float(), target, focus=2.0))


# (e) permutations


def test_the_order_of_classes_and_images_does_not_matter() -> None:
    batch = random_batch(6, 4, spread=3.0)
    order, rows = torch.tensor([2, 0, 3, 1]), torch.tensor([5, 0, 3, 1, 4, 2])
    shuffled = Batch(batch.scores[rows], batch.target[rows])
    torch.testing.assert_close(
        focal_loss(*permute_classes(shuffled, order), focus=2.0),
        focal_loss(*batch, focus=2.0),
        rtol=1e-12,
        atol=0,
    )


# errors


@pytest.mark.parametrize("focus", [-0.1, float("nan"), float("inf")])
def test_wrong_options_are_refused(focus: float) -> None:
    with pytest.raises(ConfigError, match="focus must be a finite number of at least 0"):
        FocalLoss([1, 1], focus=focus)
    with pytest.raises(ConfigError, match="focus"):
        focal_loss(torch.zeros(1, 2), torch.tensor([0]), focus=focus)
