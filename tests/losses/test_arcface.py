import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import ConfigError
from taxonet.losses import ArcFaceLoss, arcface_logits, cross_entropy_loss
from tests.reference.long_tail_losses import continued_cosine, margined
from tests.reference.scores import Batch, extreme_batch, permute_classes, random_batch

BEYOND = 1.0000002
COUNTS = [400, 90, 7, 1]


# (a) against the loop


@given(
    margin=st.floats(0, math.pi),
    scale=st.floats(0.5, 64),
    rows=st.integers(1, 5),
    classes=st.integers(2, 6),
    monotone=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_equals_the_loop(
    margin: float, scale: float, rows: int, classes: int, monotone: bool, seed: int
) -> None:
    cosines, target = random_batch(rows, classes, seed)
    angles = [math.acos(row[y]) + margin for row, y in zip(cosines, target.tolist(), strict=True)]
    psi = [continued_cosine(angle) if monotone else math.cos(angle) for angle in angles]
    slow = margined(cosines.numpy(), target.tolist(), psi, scale=scale)
    loss = ArcFaceLoss([1] * classes, margin_rad=margin, scale=scale, monotone=monotone)
    assert loss(cosines, target).item() == pytest.approx(slow, rel=1e-9, abs=1e-12)


# (b) figures by hand


def test_a_case_by_hand() -> None:
    # 60 degrees and a margin of 30: 4 cos 90 = 0 against 4 * 0.25 = 1: log(1 + e).
    loss = ArcFaceLoss([1, 1], margin_rad=math.pi / 6, scale=4.0)
    value = loss(torch.tensor([[0.5, 0.25]]), torch.tensor([0]))
    assert value.item() == pytest.approx(1.3132617, rel=1e-6)


# (c) identities


@pytest.mark.parametrize("monotone", [False, True])
def test_without_a_margin_it_is_the_cosine_softmax(monotone: bool) -> None:
    cosines, target = random_batch(5, 3)
    loss = ArcFaceLoss([1, 1, 1], margin_rad=0.0, monotone=monotone)
    assert torch.equal(loss(cosines, target), cross_entropy_loss(32.0 * cosines, target))


def test_only_the_target_is_margined() -> None:
    cosines, target = random_batch(5, 3)
    logits = arcface_logits(cosines, target, margin_rad=0.5, scale=8.0)
    others = torch.ones(5, 3, dtype=torch.bool).scatter(1, target[:, None], False)
    assert torch.equal(logits[others], 8.0 * cosines[others])
    assert bool((logits[~others] != 8.0 * cosines[~others]).all())


@pytest.mark.parametrize(("monotone", "pulled"), [(False, False), (True, True)])
def test_images_from_151_degrees_are_pulled_only_by_the_continuation(
    monotone: bool, pulled: bool
) -> None:
    loss = ArcFaceLoss([1, 1], margin_rad=0.5, scale=4.0, monotone=monotone)
    for degrees, towards in [(150, True), (153, pulled)]:
        cosine = math.cos(math.radians(degrees))
        cosines = torch.tensor([[cosine, 0.5]], dtype=torch.float64, requires_grad=True)
        loss(cosines, torch.tensor([0])).backward()
        assert cosines.grad is not None
        assert (cosines.grad[0, 0].item() < 0) == towards


# (d) gradients and numbers at the edge


@pytest.mark.parametrize("monotone", [False, True])
def test_gradcheck(monotone: bool) -> None:
    cosines, target = random_batch(4, 3)
    loss = ArcFaceLoss([1, 1, 1], scale=8.0, monotone=monotone)
    assert torch.autograd.gradcheck(lambda z: loss(z, target), (cosines.requires_grad_(),))


@pytest.mark.parametrize("monotone", [False, True])
@pytest.mark.parametrize("end", [1.0, BEYOND, 1.01])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_finite_at_and_beyond_the_ends(dtype: torch.dtype, end: float, monotone: bool) -> None:
    cosines, target = extreme_batch(end, dtype)
    cosines.requires_grad_()
    value = ArcFaceLoss(COUNTS, monotone=monotone)(cosines, target)
    value.backward()
    assert value.isfinite()
    assert cosines.grad is not None
    assert cosines.grad.isfinite().all()
    assert cosines.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    cosines, target = random_batch(4, 3)
    rounded = cosines.to(dtype)
    half = arcface_logits(rounded, target, margin_rad=0.001, scale=32.0)
    assert half.dtype is torch.float32
    assert torch.equal(half, arcface_logits(rounded.float(), target, margin_rad=0.001, scale=32.0))


# (e) permutations


def test_the_order_of_classes_and_images_does_not_matter() -> None:
    batch = random_batch(6, 4)
    order, rows = torch.tensor([2, 0, 3, 1]), torch.tensor([5, 0, 3, 1, 4, 2])
    shuffled = Batch(batch.scores[rows], batch.target[rows])
    loss = ArcFaceLoss(COUNTS)
    torch.testing.assert_close(
        loss(*permute_classes(shuffled, order)), loss(*batch), rtol=1e-12, atol=0
    )


# errors


@pytest.mark.parametrize("margin", [-0.1, 28.6, float("nan")])
def test_wrong_options_are_refused(margin: float) -> None:
    with pytest.raises(ConfigError, match="margin_rad must be an angle in radians"):
        ArcFaceLoss([1, 1], margin_rad=margin)
    with pytest.raises(ConfigError, match="scale"):
        ArcFaceLoss([1, 1], scale=0.0)
