import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import ConfigError
from taxonet.losses import cos_with_margin
from taxonet.losses.angular import check_angle, guarded_sin
from tests.reference.long_tail_losses import continued_cosine

BEYOND = 1.0000002  # the first float32 above 1 but one
HALVES = [torch.float16, torch.bfloat16]
angles = st.floats(0, math.pi)


def number(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


# (a) against acos


@given(angle=angles, margin=angles, monotone=st.booleans())
def test_equals_the_cosine_of_the_sum(angle: float, margin: float, monotone: bool) -> None:
    expected = continued_cosine(angle + margin) if monotone else math.cos(angle + margin)
    value = cos_with_margin(number(math.cos(angle)), number(margin), monotone=monotone)
    assert value.item() == pytest.approx(expected, abs=1e-7)


@given(angle=angles)
def test_the_sine_is_the_sine(angle: float) -> None:
    assert guarded_sin(number(math.cos(angle))).item() == pytest.approx(math.sin(angle), abs=2e-8)


# (b) figures by hand


def test_cases_by_hand() -> None:
    # 60 + 60, 0 + 60, 150 + 60, 180 + 60 degrees; past 180 degrees -2 - cos goes on.
    cosines = torch.tensor([0.5, 1.0, -math.sqrt(0.75), -1.0], dtype=torch.float64)
    margin = number(math.pi / 3)
    literal = torch.tensor([-0.5, 0.5, -math.sqrt(0.75), -0.5], dtype=torch.float64)
    torch.testing.assert_close(cos_with_margin(cosines, margin), literal)
    continued = torch.tensor([-0.5, 0.5, math.sqrt(0.75) - 2, -1.5], dtype=torch.float64)
    torch.testing.assert_close(cos_with_margin(cosines, margin, monotone=True), continued)


# (c) identities


@pytest.mark.parametrize("monotone", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_margin_changes_nothing(dtype: torch.dtype, monotone: bool) -> None:
    cosines = torch.tensor([-BEYOND, -1.0, -0.3, 0.0, 0.7, 1.0, BEYOND], dtype=dtype)
    none = torch.zeros((), dtype=dtype)
    assert torch.equal(cos_with_margin(cosines, none, monotone=monotone), cosines)


@given(margin=st.floats(0.01, 3.1))
def test_the_continuation_falls_all_the_way_without_a_jump(margin: float) -> None:
    cosines = torch.linspace(1, -1, 4001, dtype=torch.float64).requires_grad_()
    value = cos_with_margin(cosines, number(margin), monotone=True)
    steps = value.detach().diff()
    assert bool((steps < 0).all())
    assert bool((steps > -0.05).all())
    (slope,) = torch.autograd.grad(value.sum(), cosines)
    # 0 where t + m is pi; elsewhere above it.
    assert bool((slope[1:-1] > -1e-6).all())
    assert value[-1].item() == pytest.approx(-2 + math.cos(margin), rel=1e-9)


def test_the_literal_form_rises_again_past_pi() -> None:
    far = torch.tensor([-0.95, -1.0], dtype=torch.float64)
    literal = cos_with_margin(far, number(0.5))
    assert literal[1] > literal[0]
    continued = cos_with_margin(far, number(0.5), monotone=True)
    assert continued[1] < continued[0]


@given(angle=angles)
def test_margins_of_each_row_are_its_own(angle: float) -> None:
    cosines = number(math.cos(angle)).expand(3)
    margins = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    together = cos_with_margin(cosines, margins, monotone=True)
    for row in range(3):
        alone = cos_with_margin(cosines[row], margins[row], monotone=True)
        assert together[row].item() == alone.item()


# (d) gradients and numbers at the edge


@pytest.mark.parametrize("monotone", [False, True])
def test_gradcheck_in_cosine_and_margin(monotone: bool) -> None:
    cosines = torch.tensor([-0.97, -0.4, 0.0, 0.6, 0.98], dtype=torch.float64, requires_grad=True)
    margins = torch.tensor([0.9, 0.1, 0.5, 0.3, 2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda z, m: cos_with_margin(z, m, monotone=monotone), (cosines, margins)
    )


@pytest.mark.parametrize("end", [1.0, -1.0, BEYOND, -BEYOND])
@pytest.mark.parametrize("margin", [0.0, 1e-6, 0.5, math.pi])
def test_slopes_at_and_beyond_the_ends_are_those_of_cos_m(end: float, margin: float) -> None:
    cosine = torch.tensor(end, requires_grad=True)
    value = cos_with_margin(cosine, torch.tensor(margin))
    (slope,) = torch.autograd.grad(value, cosine)
    assert value.item() == pytest.approx(end * math.cos(margin), rel=1e-6)
    assert slope.item() == pytest.approx(math.cos(margin), abs=1e-6)


def test_the_sine_has_no_slope_at_the_ends() -> None:
    cosines = torch.tensor([1.0, -1.0, BEYOND, -BEYOND], requires_grad=True)
    sines = guarded_sin(cosines)
    (slopes,) = torch.autograd.grad(sines.sum(), cosines)
    assert sines.tolist() == [0.0] * 4
    assert slopes.tolist() == [0.0] * 4


def test_no_step_of_the_sine_meets_an_infinite_slope() -> None:
    """A NaN on the way back, though masked, stops whoever looks for the source of a NaN."""
    cosines = torch.tensor([1.0, -1.0, BEYOND, -BEYOND, 0.6], requires_grad=True)
    with torch.autograd.set_detect_anomaly(True):
        (slopes,) = torch.autograd.grad((0.0 * guarded_sin(cosines)).sum(), cosines)
    assert slopes.abs().tolist() == [0.0] * 5


@pytest.mark.parametrize("dtype", [*HALVES, torch.float32, torch.float64])
def test_slopes_one_step_from_the_ends_are_finite(dtype: torch.dtype) -> None:
    step = torch.nextafter(torch.tensor(1.0, dtype=dtype), torch.tensor(0.0, dtype=dtype))
    cosines = torch.stack([step, -step]).requires_grad_()
    (slopes,) = torch.autograd.grad(guarded_sin(cosines).sum(), cosines)
    assert slopes.isfinite().all()
    assert slopes[0] < 0 < slopes[1]


# errors


@pytest.mark.parametrize("angle", [-0.1, 3.15, 28.6, float("nan")])
def test_angles_outside_a_half_turn_are_refused(angle: float) -> None:
    with pytest.raises(ConfigError, match="margin_rad must be an angle in radians"):
        check_angle("margin_rad", angle)
    assert check_angle("margin_rad", math.pi) == math.pi
