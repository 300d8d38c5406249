import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import ConfigError
from taxonet.losses import (
    SphereFaceLoss,
    cos_of_multiple,
    cross_entropy_loss,
    sphereface_logits,
)
from tests.reference.long_tail_losses import margined, sphereface_psi
from tests.reference.scores import Batch, extreme_batch, permute_classes, random_batch

BEYOND = 1.0000002
COUNTS = [400, 90, 7, 1]
MULTIPLES = [1, 2, 3, 4, 7]


# (a) against the loop


@given(angle=st.floats(0, math.pi), multiple=st.integers(1, 8))
def test_the_continued_cosine_equals_the_loop(angle: float, multiple: int) -> None:
    cosine = torch.tensor(math.cos(angle), dtype=torch.float64)
    expected = sphereface_psi(cosine.item(), multiple=multiple)
    assert cos_of_multiple(cosine, multiple).item() == pytest.approx(expected, abs=1e-10)


@given(
    multiple=st.integers(1, 5),
    scale=st.floats(0.5, 32),
    rows=st.integers(1, 5),
    classes=st.integers(2, 6),
    seed=st.integers(0, 1000),
)
def test_equals_the_loop(multiple: int, scale: float, rows: int, classes: int, seed: int) -> None:
    cosines, target = random_batch(rows, classes, seed)
    pairs = zip(cosines.tolist(), target.tolist(), strict=True)
    psi = [sphereface_psi(z[y], multiple=multiple) for z, y in pairs]
    slow = margined(cosines.numpy(), target.tolist(), psi, scale=scale)
    loss = SphereFaceLoss([1] * classes, multiple=multiple, scale=scale)
    assert loss(cosines, target).item() == pytest.approx(slow, rel=1e-9, abs=1e-12)


# (b) figures by hand


def test_cases_by_hand() -> None:
    # m = 2 at 0, 45, 90, 120, 180 degrees: cos 2t, then -cos 2t - 2.
    cosines = torch.tensor([1.0, math.sqrt(0.5), 0.0, -0.5, -1.0], dtype=torch.float64)
    expected = torch.tensor([1.0, 0.0, -1.0, -1.5, -3.0], dtype=torch.float64)
    torch.testing.assert_close(cos_of_multiple(cosines, 2), expected)
    # m = 4 at 30, 60, 75, 150, 180: cos 120; -cos 240 - 2; -cos 300 - 2; -cos 600 - 6; -cos 720 - 6
    degrees = torch.tensor([30.0, 60.0, 75.0, 150.0, 180.0], dtype=torch.float64)
    expected = torch.tensor([-0.5, -1.5, -2.5, -5.5, -7.0], dtype=torch.float64)
    torch.testing.assert_close(cos_of_multiple(degrees.deg2rad().cos(), 4), expected)


def test_a_loss_by_hand() -> None:
    # 2 cos 120 = -1 against 2 * 0 = 0: log(1 + e).
    loss = SphereFaceLoss([1, 1], multiple=2, scale=2.0)
    value = loss(torch.tensor([[0.5, 0.0]]), torch.tensor([0]))
    assert value.item() == pytest.approx(1.3132617, rel=1e-6)


# (c) identities


def test_once_the_angle_is_the_cosine_softmax() -> None:
    cosines, target = random_batch(5, 3)
    loss = SphereFaceLoss([1, 1, 1], multiple=1)
    assert torch.equal(loss(cosines, target), cross_entropy_loss(32.0 * cosines, target))


@pytest.mark.parametrize("multiple", MULTIPLES)
def test_it_falls_from_one_to_the_bottom_without_a_jump(multiple: int) -> None:
    angles = torch.linspace(0, math.pi, 20_001, dtype=torch.float64)
    value = cos_of_multiple(angles.cos(), multiple)
    steps = value.diff()
    assert value[0].item() == 1.0
    assert value[-1].item() == pytest.approx(1 - 2 * multiple, rel=1e-12)
    assert bool((steps <= 1e-12).all())
    # No step is steeper than m dt.
    assert bool((steps >= -multiple * math.pi / 20_000 * 1.001).all())


@given(seed=st.integers(0, 1000))
def test_a_larger_multiple_never_costs_less(seed: int) -> None:
    cosines, target = random_batch(5, 3, seed)
    losses = [
        SphereFaceLoss([1, 1, 1], multiple=multiple, scale=8.0).per_image(cosines, target)
        for multiple in (1, 2, 4)
    ]
    assert bool((losses[0] <= losses[1]).all())
    assert bool((losses[1] <= losses[2]).all())


# (d) gradients and numbers at the edge


@pytest.mark.parametrize("multiple", MULTIPLES)
def test_gradcheck(multiple: int) -> None:
    cosines, target = random_batch(4, 3)
    loss = SphereFaceLoss([1, 1, 1], multiple=multiple, scale=4.0)
    assert torch.autograd.gradcheck(lambda z: loss(z, target), (cosines.requires_grad_(),))


@pytest.mark.parametrize("multiple", MULTIPLES)
@pytest.mark.parametrize("end", [1.0, -1.0, BEYOND, -BEYOND])
def test_slopes_at_the_ends_are_the_square_of_the_multiple(multiple: int, end: float) -> None:
    cosine = torch.tensor(end, requires_grad=True)
    (slope,) = torch.autograd.grad(cos_of_multiple(cosine, multiple), cosine)
    assert slope.item() == pytest.approx(multiple**2, rel=1e-3)


@pytest.mark.parametrize("end", [1.0, BEYOND, 1.01])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_finite_at_and_beyond_the_ends(dtype: torch.dtype, end: float) -> None:
    cosines, target = extreme_batch(end, dtype)
    cosines.requires_grad_()
    value = SphereFaceLoss(COUNTS)(cosines, target)
    value.backward()
    assert value.isfinite()
    assert cosines.grad is not None
    assert cosines.grad.isfinite().all()
    assert cosines.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    cosines, target = random_batch(4, 3)
    rounded = cosines.to(dtype)
    half = sphereface_logits(rounded, target, multiple=4, scale=32.0)
    assert half.dtype is torch.float32
    assert torch.equal(half, sphereface_logits(rounded.float(), target, multiple=4, scale=32.0))


# (e) permutations


def test_the_order_of_classes_and_images_does_not_matter() -> None:
    batch = random_batch(6, 4)
    order, rows = torch.tensor([2, 0, 3, 1]), torch.tensor([5, 0, 3, 1, 4, 2])
    shuffled = Batch(batch.scores[rows], batch.target[rows])
    loss = SphereFaceLoss(COUNTS)
    torch.testing.assert_close(
        loss(*permute_classes(shuffled, order)), loss(*batch), rtol=1e-12, atol=0
    )


# errors


@pytest.mark.parametrize("multiple", [0, -1])
def test_wrong_options_are_refused(multiple: int) -> None:
    with pytest.raises(ConfigError, match="multiple must be a whole number of at least 1"):
        SphereFaceLoss([1, 1], multiple=multiple)
    with pytest.raises(ConfigError, match="scale"):
        SphereFaceLoss([1, 1], scale=0.0)
