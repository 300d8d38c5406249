import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from taxonet.errors import DataError
from taxonet.losses import BalancedSoftmaxLoss, GaussianMixtureLoss, mixture_log_likelihoods
from tests.reference.contrastive import gaussian_mixture

COUNTS = [40, 9, 3, 1]
RIGHT, UP, LEFT = [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    draw = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return F.normalize(draw, dim=-1)


@given(
    temperature=st.floats(0.05, 2),
    target=st.lists(st.integers(0, 3), min_size=1, max_size=5),
    contrast_target=st.lists(st.integers(0, 3), min_size=1, max_size=8),
    seed=st.integers(0, 1000),
)
def test_equals_the_loop(
    temperature: float, target: list[int], contrast_target: list[int], seed: int
) -> None:
    centers, views = unit(4, 5, seed=seed), unit(len(target), 2, 5, seed=seed + 1)
    contrast = unit(len(contrast_target), 5, seed=seed + 2)
    loss = GaussianMixtureLoss(COUNTS, temperature=temperature).double()
    slow = gaussian_mixture(
        centers.tolist(),
        [*views[:, 0].tolist(), *views[:, 1].tolist()],
        target * 2,
        contrast.tolist(),
        contrast_target,
        counts=COUNTS,
        temperature=temperature,
    )
    fast = loss(
        centers,
        views,
        torch.tensor(target),
        contrast=contrast,
        contrast_target=torch.tensor(contrast_target),
    )
    assert fast.item() == pytest.approx(slow, rel=1e-6, abs=1e-6)  # log_priors are float32


@given(target=st.lists(st.integers(0, 3), min_size=1, max_size=5), seed=st.integers(0, 1000))
def test_without_contrast_samples_the_second_views_are_them(target: list[int], seed: int) -> None:
    centers, views = unit(4, 5, seed=seed), unit(len(target), 2, 5, seed=seed + 1)
    slow = gaussian_mixture(
        centers.tolist(),
        views[:, 0].tolist(),
        target,
        views[:, 1].tolist(),
        target,
        counts=COUNTS,
        temperature=0.5,
    )
    fast = GaussianMixtureLoss(COUNTS, temperature=0.5)(centers, views, torch.tensor(target))
    assert fast.item() == pytest.approx(slow, rel=1e-6, abs=1e-6)


def test_a_case_by_hand() -> None:
    # Class 0 (3/4): right and left, mean (e + 1/e) / 2; class 1 (1/4): its centre, up: 1.
    loss = GaussianMixtureLoss([3, 1], temperature=1.0)
    value = loss(
        torch.tensor([LEFT, UP]),
        torch.tensor([[RIGHT, RIGHT]]),
        torch.tensor([1]),
        contrast=torch.tensor([RIGHT, LEFT]),
        contrast_target=torch.tensor([0, 0]),
    )
    assert value.item() == pytest.approx(math.log(1 + 3 * (math.e + 1 / math.e) / 2), rel=1e-6)


def test_repeating_all_contrast_samples_changes_nothing() -> None:
    centers, views, contrast = unit(4, 5), unit(3, 2, 5, seed=1), unit(6, 5, seed=2)
    target, labels = torch.tensor([0, 3, 1]), torch.tensor([0, 0, 0, 1, 2, 3])
    loss = GaussianMixtureLoss(COUNTS)
    once = loss(centers, views, target, contrast=contrast, contrast_target=labels)
    again = loss(
        centers,
        views,
        target,
        contrast=torch.cat([contrast, contrast[labels == 1], contrast[labels == 1]]),
        contrast_target=torch.cat([labels, torch.tensor([1, 1])]),
    )
    assert again.item() == pytest.approx(once.item(), rel=1e-12)


def test_with_one_sample_a_class_it_is_balanced_softmax_of_the_cosines() -> None:
    centers, views, contrast = unit(4, 5), unit(3, 2, 5, seed=1), unit(4, 5, seed=2)
    target = torch.tensor([0, 3, 1])
    value = GaussianMixtureLoss(COUNTS, temperature=0.1)(
        centers, views, target, contrast=contrast, contrast_target=torch.arange(4)
    )
    cosines = torch.cat([views[:, 0], views[:, 1]]) @ contrast.T
    balanced = BalancedSoftmaxLoss(COUNTS)(10 * cosines, target.repeat(2))
    assert value.item() == pytest.approx(balanced.item(), rel=1e-9)


def test_a_centre_counts_only_where_its_class_has_no_sample() -> None:
    centers = unit(4, 5).requires_grad_()
    views = unit(2, 2, 5, seed=1).requires_grad_()
    loss = GaussianMixtureLoss(COUNTS)
    torch.autograd.backward(loss(centers, views, torch.tensor([0, 2])))
    assert centers.grad is not None
    assert (centers.grad.abs().sum(1) > 0).tolist() == [False, True, False, True]
    # The second views stand for a teacher's and get no gradient.
    assert views.grad is not None
    assert views.grad[:, 0].abs().sum() > 0
    assert views.grad[:, 1].abs().sum() == 0


def test_given_contrast_samples_carry_gradient() -> None:
    contrast = unit(3, 5, seed=2).requires_grad_()
    loss = GaussianMixtureLoss(COUNTS)(
        unit(4, 5),
        unit(2, 2, 5, seed=1),
        torch.tensor([0, 1]),
        contrast=contrast,
        contrast_target=torch.tensor([0, 1, 1]),
    )
    torch.autograd.backward(loss)
    assert contrast.grad is not None
    assert (contrast.grad.abs().sum(1) > 0).all()


def test_gradcheck() -> None:
    labels = torch.tensor([0, 2, 2, 1, 0, 2])
    assert torch.autograd.gradcheck(
        lambda q, u: mixture_log_likelihoods(q, u, labels, classes=3, temperature=0.3),
        (unit(4, 5).requires_grad_(), unit(6, 5, seed=1).requires_grad_()),
    )


def test_low_temperatures_neither_overflow_nor_vanish() -> None:
    queries = torch.tensor([RIGHT], requires_grad=True)
    contrast = torch.tensor([RIGHT, LEFT, UP])
    likelihoods = mixture_log_likelihoods(
        queries, contrast, torch.tensor([0, 1, 2]), classes=3, temperature=0.001
    )
    assert likelihoods[0].tolist() == pytest.approx([1000.0, -1000.0, 0.0])
    torch.autograd.backward(likelihoods.sum())
    assert queries.grad is not None
    assert queries.grad.isfinite().all()


@pytest.mark.parametrize(
    ("contrast", "labels", "message"),
    [
        (torch.zeros(2, 4), torch.tensor([0, 1]), r"shape \(M, 5\).*\(2, 4\)"),
        (torch.zeros(5), torch.tensor([0]), r"shape \(M, 5\).*\(5,\)"),
        (torch.zeros(2, 5, dtype=torch.int64), torch.tensor([0, 1]), "torch.int64"),
        (torch.zeros(2, 5), torch.tensor([0]), r"int64 of shape \(2,\)"),
        (torch.zeros(2, 5), torch.tensor([0.0, 1.0]), "torch.float32"),
        (torch.zeros(2, 5), torch.tensor([-1, 4]), r"0\.\.3, but has values from -1 to 4"),
        (torch.ones(2, 5), torch.tensor([0, 1]), "contrast must be of unit length"),
        (torch.zeros(2, 5), None, "contrast and contrast_target, or neither"),
        (None, torch.tensor([0, 1]), "contrast and contrast_target, or neither"),
    ],
)
def test_wrong_contrast_samples_are_named(
    contrast: torch.Tensor | None, labels: torch.Tensor | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        GaussianMixtureLoss(COUNTS)(
            unit(4, 5),
            unit(2, 2, 5),
            torch.tensor([0, 1]),
            contrast=contrast,
            contrast_target=labels,
        )
