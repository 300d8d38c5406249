import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from taxonet.losses import BalancedContrastiveLoss, balanced_contrastive_loss
from tests.reference.contrastive import balanced_contrastive

RIGHT, UP, LEFT = [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]


def unit_batch(images: int, classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.randn(
        classes + 2 * images,
        5,
        dtype=torch.float64,
        generator=torch.Generator().manual_seed(seed),
    )
    vectors = F.normalize(draw, dim=-1)
    return vectors[:classes], vectors[classes:].view(images, 2, 5)


@given(
    temperature=st.floats(0.05, 2),
    target=st.lists(st.integers(0, 3), min_size=1, max_size=6),
    seed=st.integers(0, 1000),
)
def test_equals_the_loop(temperature: float, target: list[int], seed: int) -> None:
    centers, views = unit_batch(len(target), 4, seed)
    slow = balanced_contrastive(centers.tolist(), views.tolist(), target, temperature=temperature)
    fast = balanced_contrastive_loss(centers, views, torch.tensor(target), temperature=temperature)
    assert fast.item() == pytest.approx(slow, rel=1e-9, abs=1e-9)


def test_a_case_by_hand() -> None:
    # Two images of class 0, all four views right, its centre up; one of class 1, left; T = 1.
    views = torch.tensor([[RIGHT, RIGHT], [RIGHT, RIGHT], [LEFT, LEFT]])
    centers = torch.tensor([UP, LEFT])
    # A right view: positives three e and one 1 in a mean of four; class 1: a mean of three e^-1.
    of_class_0 = math.log((3 * math.e + 1) / 4 + math.exp(-1)) - 3 / 4
    # A left view: positives two e, mean e; class 0: four e^-1 and one 1, a mean of five.
    of_class_1 = math.log(math.e + (4 * math.exp(-1) + 1) / 5) - 1
    loss = balanced_contrastive_loss(centers, views, torch.tensor([0, 0, 1]), temperature=1.0)
    assert loss.item() == pytest.approx((4 * of_class_0 + 2 * of_class_1) / 6, abs=1e-6)


def test_equal_embeddings_cost_the_logarithm_of_the_classes() -> None:
    centers, views = unit_batch(1, 1)
    same_centers, same_views = centers.expand(7, 5), centers.expand(3, 2, 5)
    loss = balanced_contrastive_loss(
        same_centers, same_views, torch.tensor([0, 0, 4]), temperature=0.1
    )
    assert loss.item() == pytest.approx(math.log(7))
    assert views.shape == (1, 2, 5)


def test_more_images_of_another_class_do_not_change_what_an_image_costs() -> None:
    # All of class 1 is one point, so that each of its views costs the same, x; those of class 0
    # cost y together. With n images of class 1 the loss is (y + 2 n x) / (2 + 2 n).
    centers, views = unit_batch(1, 3)

    def total(images: int) -> float:
        batch = torch.cat([views, centers[1].expand(images, 2, 5)])
        target = torch.tensor([0] + [1] * images)
        loss = balanced_contrastive_loss(centers, batch, target, temperature=0.1)
        return loss.item() * 2 * len(batch)

    step = total(2) - total(1)
    assert total(7) == pytest.approx(total(1) + 6 * step, rel=1e-12)


def test_gradcheck() -> None:
    centers, views = unit_batch(4, 3)
    target = torch.tensor([0, 1, 0, 2])
    assert torch.autograd.gradcheck(
        lambda c, v: balanced_contrastive_loss(c, v, target, temperature=0.3),
        (centers.requires_grad_(), views.requires_grad_()),
    )


def test_low_temperatures_neither_overflow_nor_vanish() -> None:
    centers = torch.tensor([RIGHT, LEFT], requires_grad=True)
    views = torch.tensor([[LEFT, RIGHT]], requires_grad=True)
    loss = balanced_contrastive_loss(centers, views, torch.tensor([0]), temperature=0.001)
    torch.autograd.backward(loss)
    # The left view: both positives at -1, the other centre at 1. The right one: one at -1, one at
    # 1, whose mean is half of e^1000.
    costs = [2000.0, (2000 - math.log(2) + 0 - math.log(2)) / 2]
    assert loss.item() == pytest.approx(sum(costs) / 2, rel=1e-6)
    for tensor in (centers, views):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()


def test_the_module_is_the_function() -> None:
    centers, views = unit_batch(3, 4)
    target = torch.tensor([3, 0, 3])
    loss = BalancedContrastiveLoss([9, 4, 2, 1], temperature=0.2)
    assert torch.equal(
        loss(centers, views, target),
        balanced_contrastive_loss(centers, views, target, temperature=0.2),
    )
    assert BalancedContrastiveLoss([9, 1]).temperature == 0.1
