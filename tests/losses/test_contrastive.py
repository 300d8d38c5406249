import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from taxonet.errors import ConfigError, DataError
from taxonet.losses import SupConLoss, supcon_loss
from taxonet.losses.contrastive import (
    check_temperature,
    check_unit_length,
    in_one_precision,
    inner_products,
    masked_mean,
)
from tests.reference.contrastive import supcon

TARGET = torch.tensor([0, 1, 0, 2])


def unit_views(images: int, seed: int = 0, length: int = 5) -> torch.Tensor:
    draw = torch.randn(
        images, 2, length, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    return F.normalize(draw, dim=-1)


@given(
    temperature=st.floats(0.05, 2),
    target=st.lists(st.integers(0, 3), min_size=1, max_size=6),
    seed=st.integers(0, 1000),
)
def test_equals_the_loop(temperature: float, target: list[int], seed: int) -> None:
    views = unit_views(len(target), seed)
    slow = supcon(views.tolist(), target, temperature=temperature)
    fast = supcon_loss(views, torch.tensor(target), temperature=temperature)
    assert fast.item() == pytest.approx(slow, rel=1e-9, abs=1e-9)


def test_a_case_by_hand() -> None:
    # Image 0 at 0 and 60 degrees, image 1 at 180 degrees twice, T = 1/2.
    half = 3**0.5 / 2
    views = torch.tensor([[[1.0, 0.0], [0.5, half]], [[-1.0, 0.0], [-1.0, 0.0]]])
    # First view: positive e^1, others e^-2 twice. Second: positive e^1, others e^-1 twice.
    # The views of image 1: positive e^2, others e^-2 and e^-1.
    image_1 = math.log1p(math.exp(-4) + math.exp(-3))
    costs = [math.log1p(2 * math.exp(-3)), math.log1p(2 * math.exp(-2)), image_1, image_1]
    loss = supcon_loss(views, torch.tensor([0, 1]), temperature=0.5)
    assert loss.item() == pytest.approx(sum(costs) / 4, abs=1e-6)


def test_equal_embeddings_cost_the_logarithm_of_the_others() -> None:
    views = unit_views(1).expand(4, 2, 5) * 0 + unit_views(1)[:, :1]
    assert supcon_loss(views, TARGET, temperature=0.1).item() == pytest.approx(1.9459101)  # log 7


def test_with_one_image_of_each_class_it_is_the_unsupervised_loss() -> None:
    views = unit_views(3)
    batch = torch.cat([views[:, 0], views[:, 1]])
    logits = (batch @ batch.T / 0.1).fill_diagonal_(-torch.inf)
    partner = torch.tensor([3, 4, 5, 0, 1, 2])
    simclr = F.cross_entropy(logits, partner)
    assert supcon_loss(views, torch.tensor([0, 1, 2]), temperature=0.1).item() == pytest.approx(
        simclr.item(), rel=1e-12
    )


def test_centres_are_not_used() -> None:
    loss = SupConLoss([4, 2, 1])
    centers, views = unit_views(3)[:, 0], unit_views(4, seed=1)
    assert torch.equal(loss(centers, views, TARGET), loss(-centers, views, TARGET))


def test_gradcheck() -> None:
    views = unit_views(4).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: supcon_loss(v, TARGET, temperature=0.3), (views,))


def test_low_temperatures_neither_overflow_nor_vanish() -> None:
    right, left = [1.0, 0.0], [-1.0, 0.0]
    views = torch.tensor([[right, left], [right, left]], requires_grad=True)
    loss = supcon_loss(views, torch.tensor([0, 1]), temperature=0.001)
    torch.autograd.backward(loss)
    assert loss.item() == pytest.approx(2000.0)  # the positive at -1, the other image's at 1
    assert views.grad is not None
    assert views.grad.isfinite().all()


def test_products_under_autocast_keep_their_precision() -> None:
    rows, columns = torch.tensor([[1.0, 0.001]]), torch.tensor([[0.3, 0.1]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        product = inner_products(rows, columns)
    assert product.dtype is torch.float32
    assert product.item() == pytest.approx(0.3001, abs=1e-7)


@pytest.mark.parametrize(
    ("first", "second", "computed"),
    [
        (torch.float16, torch.bfloat16, torch.float32),
        (torch.bfloat16, torch.float64, torch.float64),
        (torch.float32, torch.float16, torch.float32),
    ],
)
def test_both_get_the_wider_precision(
    first: torch.dtype, second: torch.dtype, computed: torch.dtype
) -> None:
    pair = in_one_precision(torch.ones(1, dtype=first), torch.ones(1, dtype=second))
    assert [tensor.dtype for tensor in pair] == [computed, computed]


def test_the_mean_leaves_out_what_is_not_chosen() -> None:
    values = torch.tensor([[1.0, torch.inf, 4.0], [2.0, 8.0, 0.0]], requires_grad=True)
    mask = torch.tensor([[True, False, True], [False, True, False]])
    means = masked_mean(values, mask)
    assert means.tolist() == [2.5, 8.0]
    torch.autograd.backward(means.sum())
    assert values.grad is not None
    assert values.grad.tolist() == [[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]]


def test_long_vectors_are_refused_and_rounded_ones_are_not() -> None:
    check_unit_length("views", torch.tensor([[1.004, 0.0], [0.0, 0.0]]))
    with pytest.raises(DataError, match=r"views must be of unit length, but the longest is 1\.2"):
        check_unit_length("views", torch.tensor([[0.0, 1.0], [1.2, 0.0]]))


@pytest.mark.parametrize("temperature", [0.0, -0.1, float("nan"), float("inf")])
def test_wrong_temperatures_are_refused(temperature: float) -> None:
    with pytest.raises(ConfigError, match="temperature must be a finite number above 0"):
        check_temperature(temperature)
    with pytest.raises(ConfigError, match="temperature"):
        SupConLoss([1, 1], temperature=temperature)
