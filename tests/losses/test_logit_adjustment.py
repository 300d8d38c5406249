import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import ConfigError, DataError
from taxonet.losses import (
    BalancedSoftmaxLoss,
    LogitAdjustedLoss,
    adjust_logits,
    cross_entropy_loss,
    log_priors,
)
from tests.reference.long_tail_losses import logit_adjusted
from tests.reference.scores import Batch, permute_classes, random_batch

COUNTS = [400, 90, 7, 1]
counts_of_classes = st.lists(st.integers(1, 10**6), min_size=2, max_size=8)


# (a) against the loop


@given(counts=counts_of_classes, tau=st.floats(0, 3), seed=st.integers(0, 1000))
def test_equals_the_loop(counts: list[int], tau: float, seed: int) -> None:
    logits, target = random_batch(5, len(counts), seed, spread=4.0)
    slow = logit_adjusted(logits.numpy(), target.tolist(), counts=counts, tau=tau)
    fast = LogitAdjustedLoss(counts, tau)(logits, target).item()
    # The module keeps its log priors in float32, hence the tolerance.
    assert fast == pytest.approx(slow, rel=1e-5, abs=1e-6)


@given(counts=counts_of_classes, seed=st.integers(0, 1000))
def test_balanced_softmax_equals_the_loop(counts: list[int], seed: int) -> None:
    logits, target = random_batch(5, len(counts), seed, spread=4.0)
    slow = logit_adjusted(logits.numpy(), target.tolist(), counts=counts, tau=1.0)
    fast = BalancedSoftmaxLoss(counts)(logits, target).item()
    assert fast == pytest.approx(slow, rel=1e-5, abs=1e-6)


@given(counts=counts_of_classes)
def test_priors_equal_the_loop(counts: list[int]) -> None:
    slow = [math.log(count / sum(counts)) for count in counts]
    np.testing.assert_allclose(log_priors(counts).numpy(), slow, rtol=1e-9)


# (b) figures by hand


def test_cases_by_hand() -> None:
    # Priors 3/4 and 1/4 at equal logits: -log 1/4 is 1.3862944; tau 2 gives -log 1/10.
    logits, target = torch.zeros(1, 2), torch.tensor([1])
    assert BalancedSoftmaxLoss([3, 1])(logits, target).item() == pytest.approx(1.3862944)
    assert LogitAdjustedLoss([3, 1], 2.0)(logits, target).item() == pytest.approx(2.3025851)


def test_the_post_hoc_answer_by_hand() -> None:
    # Class 0 leads by 1, less than log 3 = 1.0986: at tau = 1 the rare class wins, at 0.5 not.
    logits = torch.tensor([[1.0, 0.0]])
    assert adjust_logits(logits, [3, 1]).argmax().item() == 1
    assert adjust_logits(logits, [3, 1], 0.5).argmax().item() == 0
    difference = adjust_logits(logits, [3, 1], 0.5).diff().item()
    assert difference == pytest.approx(0.5493061 - 1, rel=1e-6)


# (c) identities


def test_no_tau_is_cross_entropy() -> None:
    logits, target = random_batch(5, 4)
    plain = cross_entropy_loss(logits, target)
    assert torch.equal(LogitAdjustedLoss(COUNTS, 0.0)(logits, target), plain)
    assert torch.equal(adjust_logits(logits, COUNTS, 0.0), logits)


@given(count=st.integers(1, 10**6), classes=st.integers(2, 8), tau=st.floats(0, 3))
def test_equal_counts_are_cross_entropy(count: int, classes: int, tau: float) -> None:
    logits, target = random_batch(4, classes)
    torch.testing.assert_close(
        LogitAdjustedLoss([count] * classes, tau)(logits, target),
        cross_entropy_loss(logits, target),
        rtol=1e-12,
        atol=0,
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_balanced_softmax_is_logit_adjustment_with_tau_one(smoothing: float) -> None:
    batch = random_batch(5, 4)
    assert torch.equal(
        BalancedSoftmaxLoss(COUNTS, label_smoothing=smoothing)(*batch),
        LogitAdjustedLoss(COUNTS, 1.0, label_smoothing=smoothing)(*batch),
    )


@given(counts=counts_of_classes, tau=st.floats(0, 3))
def test_the_adjustment_takes_off_what_training_added(counts: list[int], tau: float) -> None:
    logits, target = random_batch(4, len(counts))
    trained = LogitAdjustedLoss(counts, tau).adjusted(logits, target)
    torch.testing.assert_close(adjust_logits(trained, counts, tau), logits, rtol=0, atol=1e-5)


@given(counts=counts_of_classes)
def test_priors_are_a_distribution(counts: list[int]) -> None:
    priors = log_priors(counts)
    assert priors.dtype is torch.float64
    assert bool((priors < 0).all())
    assert priors.exp().sum().item() == pytest.approx(1.0, rel=1e-12)


# (d) gradients and numbers at the edge


def test_gradcheck() -> None:
    logits, target = random_batch(4, 4, spread=3.0)
    loss = LogitAdjustedLoss(COUNTS, 1.5, label_smoothing=0.1)
    assert torch.autograd.gradcheck(lambda x: loss(x, target), (logits.requires_grad_(),))


def test_a_class_with_almost_every_image_keeps_a_prior_below_zero() -> None:
    assert log_priors([10**15, 1])[0].item() == pytest.approx(-1e-15, rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_adjusted_in_float32(dtype: torch.dtype) -> None:
    logits = torch.tensor([[60.0, -60.0]], dtype=dtype)
    adjusted = adjust_logits(logits, [10**7, 1])
    assert adjusted.dtype is torch.float32
    expected = [60 - log_priors([10**7, 1])[0].item(), -60 - log_priors([10**7, 1])[1].item()]
    assert adjusted[0].tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("convert", [BalancedSoftmaxLoss.half, BalancedSoftmaxLoss.bfloat16])
def test_a_module_in_half_precision_still_computes_in_float32(
    convert: Callable[[BalancedSoftmaxLoss], BalancedSoftmaxLoss],
) -> None:
    batch = random_batch(4, 4)
    scores = batch.scores.float()
    plain = BalancedSoftmaxLoss(COUNTS)(scores, batch.target)
    value = convert(BalancedSoftmaxLoss(COUNTS))(scores, batch.target)
    assert value.dtype is torch.float32
    torch.testing.assert_close(value, plain, rtol=1e-2, atol=0)


# (e) permutations


def test_the_order_of_classes_and_images_does_not_matter() -> None:
    batch = random_batch(6, 4, spread=3.0)
    order, rows = torch.tensor([2, 0, 3, 1]), torch.tensor([5, 0, 3, 1, 4, 2])
    shuffled = permute_classes(Batch(batch.scores[rows], batch.target[rows]), order)
    counts = torch.tensor(COUNTS)[order]
    torch.testing.assert_close(
        LogitAdjustedLoss(counts, 1.5)(*shuffled),
        LogitAdjustedLoss(COUNTS, 1.5)(*batch),
        rtol=1e-6,
        atol=0,
    )
    torch.testing.assert_close(
        adjust_logits(shuffled.scores, counts, 1.5),
        adjust_logits(batch.scores, COUNTS, 1.5)[rows][:, order],
        rtol=1e-12,
        atol=0,
    )


def test_adjusted_logits_keep_their_leading_axes() -> None:
    logits = torch.zeros(2, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(
        adjust_logits(logits, COUNTS)[1, 2], -log_priors(COUNTS), rtol=1e-15, atol=0
    )


# errors


@pytest.mark.parametrize("tau", [-1.0, float("nan"), float("inf")])
def test_wrong_options_are_refused(tau: float) -> None:
    with pytest.raises(ConfigError, match="tau must be a finite number of at least 0"):
        LogitAdjustedLoss(COUNTS, tau)
    with pytest.raises(ConfigError, match="tau"):
        adjust_logits(torch.zeros(1, 4), COUNTS, tau)


def test_logits_of_other_classes_are_refused() -> None:
    with pytest.raises(DataError, match=r"4 classes, but the logits have the shape \(1, 3\)"):
        adjust_logits(torch.zeros(1, 3), COUNTS)
