import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import ConfigError, DataError
from taxonet.losses import ClassBalancedLoss, CrossEntropyLoss, class_balanced_weights
from tests.reference.long_tail_losses import (
    cross_entropies,
    effective_number_weights,
    smoothed_cross_entropies,
    weighted_mean,
)
from tests.reference.scores import Batch, permute_classes, random_batch

COUNTS = [400, 90, 7, 1]
counts_of_classes = st.lists(st.integers(1, 10**7), min_size=2, max_size=8)
NEAREST_TO_ONE = math.nextafter(1.0, 0.0)


# (a) against the loop


@given(
    counts=counts_of_classes,
    beta=st.one_of(st.floats(0, NEAREST_TO_ONE), st.sampled_from([0.0, 1e-300, 1 - 1e-12])),
)
def test_weights_equal_the_exact_formula(counts: list[int], beta: float) -> None:
    weights = class_balanced_weights(counts, beta)
    assert weights.dtype is torch.float64
    np.testing.assert_allclose(weights.numpy(), effective_number_weights(counts, beta), rtol=1e-12)


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9999, 1 - 1e-9, NEAREST_TO_ONE])
def test_weights_are_exact_for_one_image_and_ten_millions(beta: float) -> None:
    counts = [10**7, 1, 10**7, 2]
    np.testing.assert_allclose(
        class_balanced_weights(counts, beta).numpy(),
        effective_number_weights(counts, beta),
        rtol=1e-13,
    )


@given(
    beta=st.floats(0, 0.99999),
    smoothing=st.sampled_from([0.0, 0.1, 0.5]),
    seed=st.integers(0, 1000),
)
def test_equals_the_loop(beta: float, smoothing: float, seed: int) -> None:
    logits, target = random_batch(6, 4, seed, spread=5.0)
    losses = smoothed_cross_entropies(logits.numpy(), target.tolist(), smoothing)
    slow = weighted_mean(losses, target.tolist(), effective_number_weights(COUNTS, beta))
    fast = ClassBalancedLoss(COUNTS, beta, label_smoothing=smoothing)(logits, target).item()
    # The module keeps its weights in float32, hence the tolerance.
    assert fast == pytest.approx(slow, rel=1e-6)


# (b) figures by hand


def test_weights_by_hand() -> None:
    # Effective numbers 1, 1.5 and 1.75 at beta = 1/2: 1, 2/3, 4/7 are 21, 14, 12 of 47.
    expected = [3 * 21 / 47, 3 * 14 / 47, 3 * 12 / 47]
    np.testing.assert_allclose(class_balanced_weights([1, 2, 3], 0.5).numpy(), expected, rtol=1e-15)


def test_a_case_by_hand() -> None:
    # Weights 3 : 2. Losses log 2 and log(1 + e^2) = 2.1269280.
    loss = ClassBalancedLoss([1, 2], 0.5)
    value = loss(torch.tensor([[0.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1]))
    assert value.item() == pytest.approx((3 * 0.6931472 + 2 * 2.1269280) / 5, rel=1e-6)


# (c) identities


@given(counts=counts_of_classes)
def test_beta_zero_weighs_all_the_same(counts: list[int]) -> None:
    assert class_balanced_weights(counts, 0.0).tolist() == [1.0] * len(counts)
    logits, target = random_batch(5, len(counts))
    torch.testing.assert_close(
        ClassBalancedLoss(counts, 0.0)(logits, target),
        CrossEntropyLoss(counts)(logits, target),
        rtol=1e-12,
        atol=0,
    )


@given(count=st.integers(1, 10**7), classes=st.integers(2, 8), beta=st.floats(0, NEAREST_TO_ONE))
def test_equal_counts_weigh_the_same(count: int, classes: int, beta: float) -> None:
    weights = class_balanced_weights([count] * classes, beta)
    np.testing.assert_allclose(weights.numpy(), 1.0, rtol=1e-14)


def test_towards_one_the_weights_go_as_the_inverse_count() -> None:
    weights = class_balanced_weights([1, 10, 1000], NEAREST_TO_ONE)
    ratios = weights / weights[0]
    np.testing.assert_allclose(ratios.numpy(), [1, 0.1, 0.001], rtol=1e-12)


@given(counts=counts_of_classes, beta=st.floats(0, NEAREST_TO_ONE))
def test_weights_sum_to_the_classes_and_fall_with_the_count(counts: list[int], beta: float) -> None:
    weights = class_balanced_weights(counts, beta)
    assert weights.sum().item() == pytest.approx(len(counts), rel=1e-12)
    assert bool((weights > 0).all())
    assert bool((weights[np.argsort(counts)].diff() <= 0).all())


def test_weights_cleared_it_is_cross_entropy() -> None:
    logits, target = random_batch(5, 4)
    loss = ClassBalancedLoss(COUNTS)
    plain = np.mean(cross_entropies(logits.numpy(), target.tolist()))
    assert loss(logits, target).item() != pytest.approx(plain, rel=1e-3)
    loss.reweight(None)
    assert loss(logits, target).item() == pytest.approx(plain, rel=1e-12)


# (d) gradients and numbers at the edge


def test_gradcheck() -> None:
    logits, target = random_batch(4, 4, spread=3.0)
    loss = ClassBalancedLoss(COUNTS, label_smoothing=0.1)
    assert torch.autograd.gradcheck(lambda x: loss(x, target), (logits.requires_grad_(),))


def test_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], requires_grad=True)
    loss = ClassBalancedLoss([10**7, 1])
    value = loss(logits, torch.tensor([1, 1]))
    value.backward()
    assert value.item() == 1e4  # the mean of 2e4 and 0
    assert logits.grad is not None
    assert logits.grad.tolist() == [[0.5, -0.5], [0.0, 0.0]]


# (e) permutations


def test_the_order_of_classes_and_images_does_not_matter() -> None:
    batch = random_batch(6, 4)
    order, rows = torch.tensor([2, 0, 3, 1]), torch.tensor([5, 0, 3, 1, 4, 2])
    shuffled = Batch(batch.scores[rows], batch.target[rows])
    plain = ClassBalancedLoss(COUNTS)(*batch)
    permuted = ClassBalancedLoss(torch.tensor(COUNTS)[order])(*permute_classes(shuffled, order))
    torch.testing.assert_close(permuted, plain, rtol=1e-6, atol=0)
    torch.testing.assert_close(
        class_balanced_weights(torch.tensor(COUNTS)[order]),
        class_balanced_weights(COUNTS)[order],
        rtol=1e-14,
        atol=0,
    )


# errors


@pytest.mark.parametrize("beta", [-0.1, 1.0, float("nan")])
def test_wrong_options_are_refused(beta: float) -> None:
    with pytest.raises(ConfigError, match="beta must be a share of at least 0 and below 1"):
        ClassBalancedLoss(COUNTS, beta)
    with pytest.raises(ConfigError, match="beta"):
        class_balanced_weights(COUNTS, beta)
    with pytest.raises(ConfigError, match="label_smoothing"):
        ClassBalancedLoss(COUNTS, label_smoothing=1.0)


def test_wrong_counts_are_refused() -> None:
    with pytest.raises(DataError, match=r"classes \[1\] have \[0\]"):
        class_balanced_weights([5, 0])
