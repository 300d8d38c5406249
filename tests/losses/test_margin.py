import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import ConfigError
from taxonet.losses import AMSoftmaxLoss, am_softmax_loss, cross_entropy_loss
from tests.reference.losses import am_softmax


def random_cosines(rows: int, classes: int, seed: int = 0) -> torch.Tensor:
    draw = torch.rand(
        rows, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    return 2 * draw - 1


@given(
    margin=st.floats(0, 1),
    scale=st.floats(0.5, 64),
    rows=st.integers(1, 5),
    classes=st.integers(2, 6),
    seed=st.integers(0, 1000),
)
def test_equals_the_loop(margin: float, scale: float, rows: int, classes: int, seed: int) -> None:
    cosines = random_cosines(rows, classes, seed)
    target = torch.arange(rows) % classes
    slow = am_softmax(cosines.numpy(), target.tolist(), margin=margin, scale=scale)
    fast = am_softmax_loss(cosines, target, margin_cos=margin, scale=scale).item()
    assert fast == pytest.approx(slow, rel=1e-9, abs=1e-12)


def test_a_case_by_hand() -> None:
    # 10 (0.5 - 0.35) = 1.5 against 10 * 0.2 = 2: log(1 + e^0.5).
    loss = AMSoftmaxLoss([1, 1], margin_cos=0.35, scale=10.0)
    assert loss(torch.tensor([[0.5, 0.2]]), torch.tensor([0])).item() == pytest.approx(0.9740770)


def test_without_a_margin_it_is_the_cosine_softmax() -> None:
    cosines, target = random_cosines(5, 3), torch.tensor([0, 1, 2, 0, 1])
    margined = am_softmax_loss(cosines, target, margin_cos=0.0, scale=32.0)
    assert torch.equal(margined, cross_entropy_loss(32.0 * cosines, target))


def test_the_loss_grows_with_the_margin() -> None:
    cosines, target = random_cosines(5, 3), torch.tensor([0, 1, 2, 0, 1])
    losses = [am_softmax_loss(cosines, target, margin_cos=m, scale=8.0) for m in (0, 0.1, 0.2)]
    assert losses[0] < losses[1] < losses[2]


def test_gradcheck() -> None:
    cosines = random_cosines(4, 3).requires_grad_()
    target = torch.tensor([0, 1, 2, 0])
    assert torch.autograd.gradcheck(
        lambda z: am_softmax_loss(z, target, margin_cos=0.35, scale=8.0), (cosines,)
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_finite_at_and_beyond_the_ends(dtype: torch.dtype) -> None:
    cosines = torch.tensor([[1.0, -1.0], [-1.01, 1.01]], dtype=dtype, requires_grad=True)
    loss = am_softmax_loss(cosines, torch.tensor([0, 0]), margin_cos=0.35, scale=64.0)
    torch.autograd.backward(loss)
    # Row 0 costs nothing, row 1 costs s (2.02 + m) but for the rounding of 1.01.
    assert loss.item() == pytest.approx(64 * 2.37 / 2, rel=0.02)
    assert cosines.grad is not None
    assert cosines.grad.isfinite().all()


@pytest.mark.parametrize("margin", [float("nan"), float("inf")])
def test_wrong_options_are_refused(margin: float) -> None:
    with pytest.raises(ConfigError, match="margin_cos"):
        AMSoftmaxLoss([1, 1], margin_cos=margin)
    with pytest.raises(ConfigError, match="margin_cos"):
        am_softmax_loss(torch.zeros(1, 2), torch.tensor([0]), margin_cos=margin, scale=1.0)
    with pytest.raises(ConfigError, match="scale"):
        AMSoftmaxLoss([1, 1], scale=0.0)


def test_the_order_of_classes_and_images_does_not_matter() -> None:
    cosines, target = random_cosines(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    classes, rows = torch.tensor([2, 0, 3, 1]), torch.tensor([5, 0, 3, 1, 4, 2])
    plain = am_softmax_loss(cosines, target, margin_cos=0.35, scale=32.0)
    place = torch.argsort(classes)  # the new index of each old class
    permuted = am_softmax_loss(
        cosines[rows][:, classes], place[target[rows]], margin_cos=0.35, scale=32.0
    )
    torch.testing.assert_close(permuted, plain, rtol=1e-12, atol=0)
