import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from taxonet.errors import ConfigError
from taxonet.losses import DROLoss, dro_loss
from taxonet.losses.dro import Radius
from taxonet.registry import CONTRASTIVE_LOSSES
from tests.reference.contrastive import dro, sqrt_radii

COUNTS = [16, 9, 4, 1]


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@given(
    temperature=st.floats(0.2, 3),
    epsilon=st.floats(0, 2),
    target=st.lists(st.integers(0, 3), min_size=1, max_size=6),
    seed=st.integers(0, 1000),
)
def test_equals_the_loop(temperature: float, epsilon: float, target: list[int], seed: int) -> None:
    centers, views = normal(4, 3, seed=seed), normal(len(target), 2, 3, seed=seed + 1)
    slow = dro(
        centers.tolist(),
        views.tolist(),
        target,
        radii=sqrt_radii(COUNTS, epsilon),
        temperature=temperature,
    )
    loss = DROLoss(COUNTS, temperature=temperature, epsilon=epsilon)
    fast = loss(centers, views, torch.tensor(target)).item()
    assert fast == pytest.approx(slow, rel=1e-6, abs=1e-6)  # the radii are float32


def test_a_case_by_hand() -> None:
    # One class, both views at distances 1 and 3 from its centre, T = 2: any radius cancels.
    views = torch.tensor([[[1.0], [3.0]]])
    loss = DROLoss([4, 1], temperature=2.0, epsilon=5.0)
    value = loss(torch.tensor([[0.0], [7.0]]), views, torch.tensor([0]))
    assert value.item() == pytest.approx((math.log1p(math.exp(-1)) + math.log1p(math.e)) / 2)


@pytest.mark.parametrize(
    ("radius", "radii"),
    [("sqrt", [0.5, 2 / 3, 1.0, 2.0]), ("shared", [2.0] * 4), ("learned", [2.0] * 4)],
)
def test_the_radii_start_as_they_are_described(radius: Radius, radii: list[float]) -> None:
    assert DROLoss(COUNTS, epsilon=2.0, radius=radius).radii().tolist() == pytest.approx(radii)


def test_without_uncertainty_it_is_cross_entropy_over_the_embeddings() -> None:
    centers, views = normal(2, 3), normal(2, 2, 3, seed=1)
    batch = torch.cat([views[:, 0], views[:, 1]])
    logits = -(centers[:, None] - batch).norm(dim=2) / 0.5
    own = (F.cross_entropy(logits[[0, 0]], torch.tensor([0, 2])), logits[[1, 1]])
    expected = (own[0] + F.cross_entropy(own[1], torch.tensor([1, 3]))) / 2
    loss = DROLoss([5, 2], temperature=0.5, epsilon=0.0)
    assert loss(centers, views, torch.tensor([0, 1])).item() == pytest.approx(expected.item())


@given(seed=st.integers(0, 200), angle=st.floats(0, 2 * math.pi), share=st.floats(0, 1))
def test_it_bounds_the_loss_of_every_centre_in_the_ball(
    seed: int, angle: float, share: float
) -> None:
    centers, views = normal(2, 2, seed=seed), normal(3, 2, 2, seed=seed + 1)
    radii = torch.tensor([0.7, 0.4], dtype=torch.float64)
    target, temperature = torch.tensor([0, 1, 0]), 0.5
    bound = dro_loss(centers, views, target, radii=radii, temperature=temperature)
    way = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    elsewhere = centers + share * radii[:, None] * way
    # With several own embeddings the bound holds against the others, term by term.
    one_each = torch.tensor([0, 1])
    single = views[:2, :1].expand(2, 2, 2)
    true = dro_loss(elsewhere, single, one_each, radii=0 * radii, temperature=temperature)
    worst = dro_loss(centers, single, one_each, radii=radii, temperature=temperature)
    assert true <= worst + 1e-9
    assert bound >= dro_loss(centers, views, target, radii=0 * radii, temperature=temperature)


def test_learned_radii_are_parameters_that_training_shrinks() -> None:
    loss = DROLoss(COUNTS, temperature=1.0, radius="learned")
    torch.autograd.backward(loss(normal(4, 3), normal(3, 2, 3, seed=1), torch.tensor([0, 1, 3])))
    (log_radii,) = loss.parameters()
    assert log_radii.grad is not None
    assert log_radii.grad[[0, 1, 3]].min() > 0
    assert log_radii.grad[2] == 0  # not in the batch
    assert list(DROLoss(COUNTS).parameters()) == []


def test_gradcheck() -> None:
    target = torch.tensor([0, 1, 0, 2])
    assert torch.autograd.gradcheck(
        lambda c, v, r: dro_loss(c, v, target, radii=r, temperature=0.7),
        (
            normal(3, 2).requires_grad_(),
            normal(4, 2, 2, seed=1).requires_grad_(),
            normal(3, seed=2).abs().requires_grad_(),
        ),
    )


def test_embeddings_on_their_centre_have_finite_gradients() -> None:
    centers = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    views = centers.detach()[:, None].expand(2, 2, 2).clone().requires_grad_()
    loss = DROLoss([3, 1])(centers, views, torch.tensor([0, 1]))
    torch.autograd.backward(loss)
    for tensor in (centers, views):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="epsilon must be a finite number of at least 0"):
        DROLoss(COUNTS, epsilon=-1.0)
    with pytest.raises(ConfigError, match="epsilon must be above 0 where radii are learned"):
        DROLoss(COUNTS, epsilon=0.0, radius="learned")
    with pytest.raises(ConfigError, match="radius must be"):
        CONTRASTIVE_LOSSES.get("dro")(COUNTS, radius="wide")
