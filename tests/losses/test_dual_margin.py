import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from taxonet.errors import ConfigError, DataError
from taxonet.losses import (
    DualMarginLoss,
    am_softmax_loss,
    class_margins,
    cross_entropy_loss,
    dual_margin_loss,
    margin_regularisation,
    relative_rarity,
)
from taxonet.losses.dual_margin import Normalise
from taxonet.models import CosineHead
from tests.reference.losses import delta, dual_margin, rho

COUNTS = [400, 90, 7, 1]
counts_of_classes = st.lists(st.integers(1, 10**6), min_size=2, max_size=8)


def random_cosines(rows: int, classes: int, seed: int = 0) -> torch.Tensor:
    draw = torch.rand(
        rows, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    return 2 * draw - 1


def with_gamma(loss: DualMarginLoss, gamma: float) -> DualMarginLoss:
    assert loss.gamma is not None
    with torch.no_grad():
        loss.gamma.fill_(gamma)
    return loss


# (a) against the loop


@given(
    counts=counts_of_classes,
    gamma=st.floats(-4, 4),
    base=st.floats(0.01, 0.5),
    regularisation=st.floats(0, 10),
    normalise=st.sampled_from(["sum", "max"]),
    seed=st.integers(0, 1000),
)
def test_equals_the_loop(
    counts: list[int],
    gamma: float,
    base: float,
    regularisation: float,
    normalise: Normalise,
    seed: int,
) -> None:
    cosines = random_cosines(3, len(counts), seed)
    target = torch.arange(3) % len(counts)
    loss = DualMarginLoss(
        counts,
        base_margin_cos=base,
        scale=16.0,
        regularisation=regularisation,
        normalise=normalise,
    ).double()
    slow = dual_margin(
        cosines.numpy(),
        target.tolist(),
        counts=counts,
        gamma=gamma,
        base_margin=base,
        scale=16.0,
        regularisation=regularisation,
        normalise=normalise,
    )
    # The module keeps its rarities in float32, hence the tolerance.
    fast = with_gamma(loss, gamma)(cosines, target).item()
    assert fast == pytest.approx(slow, rel=2e-6, abs=1e-8)


@given(counts=counts_of_classes, gamma=st.floats(-4, 4), normalise=st.sampled_from(["sum", "max"]))
def test_margins_equal_the_loop(counts: list[int], gamma: float, normalise: Normalise) -> None:
    rhos = rho(counts, base_margin=0.15, normalise=normalise)
    rarity = relative_rarity(counts, normalise=normalise)
    np.testing.assert_allclose(0.15 * rarity.numpy(), rhos, rtol=1e-7)
    margins = class_margins(rarity, exponent=math.log1p(math.exp(gamma)), base_margin_cos=0.15)
    np.testing.assert_allclose(
        margins.numpy(), delta(rhos, gamma=gamma, base_margin=0.15), rtol=1e-6
    )


# (b) figures by hand


def test_a_case_by_hand() -> None:
    # -log2 of 1/2, 1/4, 1/4 is 1, 2, 2.
    rarity = relative_rarity([4, 2, 2])
    np.testing.assert_allclose(rarity.numpy(), [0.2, 0.4, 0.4], rtol=1e-15)
    margins = class_margins(rarity, exponent=2.0, base_margin_cos=0.5)
    np.testing.assert_allclose(margins.numpy(), [0.02, 0.08, 0.08], rtol=1e-12)
    # (0.02 - 0.1)^2 + 2 (0.08 - 0.2)^2
    penalty = margin_regularisation(margins, rarity, base_margin_cos=0.5)
    assert penalty.item() == pytest.approx(0.0352, rel=1e-12)
    # Target: 10 (0.5 - 0.5 - 0.02) = -0.2; others: 10 (0 - 0.08) = -0.8; log(1 + 2 e^-0.6)
    cosines, target = torch.tensor([[0.5, 0.0, 0.0]], dtype=torch.float64), torch.tensor([0])
    value = dual_margin_loss(
        cosines, target, class_margins_cos=margins, base_margin_cos=0.5, scale=10.0
    )
    assert value.item() == pytest.approx(0.7408050, abs=1e-7)
    loss = DualMarginLoss([4, 2, 2], base_margin_cos=0.5, scale=10.0, regularisation=10.0)
    with_gamma(loss, math.log(math.expm1(2.0)))
    assert loss(cosines, target).item() == pytest.approx(0.7408050 + 0.352, abs=1e-6)


def test_rarest_class_has_the_base_margin_under_max() -> None:
    margins = DualMarginLoss([4, 2, 2], base_margin_cos=0.2, normalise="max").margins()
    np.testing.assert_allclose(margins.numpy(), [0.1, 0.2, 0.2], rtol=1e-6)


def test_spread_of_a_thousand_classes() -> None:
    counts = [math.floor(1280 * (5 / 1280) ** (k / 999)) for k in range(1000)]

    def spread(exponent: float, normalise: Normalise) -> float:
        margins = class_margins(
            relative_rarity(counts, normalise=normalise), exponent=exponent, base_margin_cos=0.15
        )
        return (margins.max() - margins.min()).item()

    exponents = np.arange(0.01, 3, 0.01)
    assert round(max(spread(float(z), "sum") for z in exponents), 4) == 0.0058
    assert round(spread(1.0, "sum"), 4) == 0.0001
    assert round(spread(1.0, "max"), 3) == 0.077


def test_gamma_starts_where_the_margins_are_the_class_statistics() -> None:
    loss = DualMarginLoss(COUNTS)
    assert loss.gamma is not None
    assert F.softplus(loss.gamma).item() == pytest.approx(1.0, rel=1e-6)
    np.testing.assert_allclose(loss.margins().numpy(), rho(COUNTS, base_margin=0.15), rtol=1e-5)
    penalty = margin_regularisation(loss.margins(), loss.relative_rarity, base_margin_cos=0.15)
    assert penalty.item() < 1e-12


# (c) identities


@given(counts=counts_of_classes, normalise=st.sampled_from(["sum", "max"]))
def test_rarity_falls_with_the_count(counts: list[int], normalise: Normalise) -> None:
    rarity = relative_rarity(counts, normalise=normalise)
    assert bool((rarity > 0).all())
    whole = rarity.sum() if normalise == "sum" else rarity.max()
    assert whole.item() == pytest.approx(1.0)
    by_count = rarity[np.argsort(counts)]
    assert bool((by_count.diff() <= 0).all())


def probabilities(cosines: torch.Tensor, y: int, margins: torch.Tensor) -> torch.Tensor:
    """The softmax inside the loss, from its value at every class as seen from the target y.

    The loss is -log p_y; the derivative with respect to z_k is s p_k for k other than y.
    """
    z = cosines.clone().requires_grad_()
    loss = dual_margin_loss(
        z[None], torch.tensor([y]), class_margins_cos=margins, base_margin_cos=0.15, scale=8.0
    )
    (gradient,) = torch.autograd.grad(loss, z)
    p = gradient / 8.0
    p[y] = torch.exp(-loss.detach())
    return p


@given(counts=counts_of_classes, gamma=st.floats(-4, 4), seed=st.integers(0, 1000))
def test_non_targets_compare_by_their_margins(counts: list[int], gamma: float, seed: int) -> None:
    z = random_cosines(1, len(counts), seed)[0]
    margins = class_margins(
        relative_rarity(counts), exponent=math.log1p(math.exp(gamma)), base_margin_cos=0.15
    )
    p = probabilities(z, 0, margins)
    assert p.sum().item() == pytest.approx(1.0)
    shifted = 8.0 * (z - margins)
    for j in range(1, len(counts)):
        for c in range(1, len(counts)):
            expected = torch.exp(shifted[c] - shifted[j]).item()
            assert (p[c] / p[j]).item() == pytest.approx(expected, rel=1e-6)


@given(counts=counts_of_classes, seed=st.integers(0, 1000))
def test_the_bound_on_a_non_target(counts: list[int], seed: int) -> None:
    z = random_cosines(1, len(counts), seed)[0]
    margins = class_margins(relative_rarity(counts), exponent=1.0, base_margin_cos=0.15)
    p = probabilities(z, 0, margins)
    target_margin = 0.15 + margins[0]
    bound = torch.exp(8.0 * (z - z[0])) * torch.exp(8.0 * (target_margin - margins))
    assert bool((p[1:] <= bound[1:] * (1 + 1e-9)).all())


@given(seed=st.integers(0, 1000), margin=st.floats(0, 0.14), more=st.floats(0.01, 0.15))
def test_a_larger_margin_pushes_a_non_target_less(seed: int, margin: float, more: float) -> None:
    z = random_cosines(1, 4, seed)[0]
    margins = torch.tensor([0.02, margin, 0.03, 0.04], dtype=torch.float64)
    larger = margins.clone()
    larger[1] += more
    assert probabilities(z, 0, larger)[1] < probabilities(z, 0, margins)[1]


def test_the_gradient_on_a_normalised_prototype_has_the_norm_s_p() -> None:
    draw = torch.Generator().manual_seed(0)
    x = F.normalize(torch.randn(6, dtype=torch.float64, generator=draw), dim=0)
    prototypes = F.normalize(torch.randn(4, 6, dtype=torch.float64, generator=draw), dim=1)
    prototypes.requires_grad_()
    margins = class_margins(relative_rarity(COUNTS), exponent=1.0, base_margin_cos=0.15)
    loss = dual_margin_loss(
        (prototypes @ x)[None],
        torch.tensor([2]),
        class_margins_cos=margins,
        base_margin_cos=0.15,
        scale=8.0,
    )
    (gradient,) = torch.autograd.grad(loss, prototypes)
    p = probabilities((prototypes @ x).detach(), 2, margins)
    expected = 8.0 * p
    expected[2] = 8.0 * (1 - p[2])
    torch.testing.assert_close(gradient.norm(dim=1), expected, rtol=1e-10, atol=0)


@given(
    count=st.integers(1, 10**6),
    classes=st.integers(2, 8),
    gamma=st.floats(-4, 4),
    normalise=st.sampled_from(["sum", "max"]),
)
def test_equal_counts_are_am_softmax(
    count: int, classes: int, gamma: float, normalise: Normalise
) -> None:
    cosines, target = random_cosines(4, classes), torch.arange(4) % classes
    loss = DualMarginLoss([count] * classes, regularisation=0.0, normalise=normalise).double()
    plain = am_softmax_loss(cosines, target, margin_cos=0.15, scale=32.0)
    value = with_gamma(loss, gamma)(cosines, target)
    torch.testing.assert_close(value, plain, rtol=1e-9, atol=1e-12)


@given(counts=counts_of_classes, gamma=st.floats(-4, 4))
def test_no_base_margin_is_the_cosine_softmax(counts: list[int], gamma: float) -> None:
    cosines, target = random_cosines(4, len(counts)), torch.arange(4) % len(counts)
    loss = with_gamma(DualMarginLoss(counts, base_margin_cos=0.0), gamma)
    assert torch.equal(loss(cosines, target), cross_entropy_loss(32.0 * cosines, target))
    assert loss.margins().tolist() == [0.0] * len(counts)


def test_without_the_dual_part_it_is_am_softmax_without_parameters() -> None:
    cosines, target = random_cosines(4, 4), torch.tensor([0, 1, 2, 3])
    loss = DualMarginLoss(COUNTS, base_margin_cos=0.2, regularisation=10.0, dual=False)
    plain = am_softmax_loss(cosines, target, margin_cos=0.2, scale=32.0)
    assert torch.equal(loss(cosines, target), plain)
    assert list(loss.parameters()) == []
    assert loss.margins().tolist() == [0.0] * 4


def test_an_exponent_near_zero_is_am_softmax_too() -> None:
    cosines, target = random_cosines(4, 4), torch.tensor([0, 1, 2, 3])
    loss = with_gamma(DualMarginLoss(COUNTS, regularisation=0.0), -200.0)
    assert loss.margins().tolist() == pytest.approx([0.15] * 4)
    plain = am_softmax_loss(cosines, target, margin_cos=0.15, scale=32.0)
    # The margins are float32.
    torch.testing.assert_close(loss(cosines, target), plain, rtol=1e-6, atol=1e-6)


def test_regularisation_adds_its_weight_times_the_penalty() -> None:
    cosines, target = random_cosines(4, 4), torch.tensor([0, 1, 2, 3])
    values = [
        with_gamma(DualMarginLoss(COUNTS, regularisation=weight), -1.0).double()(cosines, target)
        for weight in (0.0, 1.0, 10.0)
    ]
    deltas = delta(rho(COUNTS, base_margin=0.15), gamma=-1.0, base_margin=0.15)
    pairs = zip(deltas, rho(COUNTS, base_margin=0.15), strict=True)
    penalty = sum((d - r) ** 2 for d, r in pairs)
    assert (values[1] - values[0]).item() == pytest.approx(penalty, rel=1e-5)
    assert (values[2] - values[0]).item() == pytest.approx(10 * penalty, rel=1e-5)


def test_regularisation_alone_pulls_the_exponent_to_one() -> None:
    loss = with_gamma(DualMarginLoss(COUNTS, normalise="max"), -1.0)
    assert loss.gamma is not None
    optimizer = torch.optim.Adam([loss.gamma], lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        margins = class_margins(
            loss.relative_rarity, exponent=F.softplus(loss.gamma), base_margin_cos=0.15
        )
        penalty = margin_regularisation(margins, loss.relative_rarity, base_margin_cos=0.15)
        torch.autograd.backward(penalty)
        optimizer.step()
    assert F.softplus(loss.gamma).item() == pytest.approx(1.0, abs=0.01)


# (d) gradients and numbers at the edge


def test_gradcheck_through_cosines_and_gamma() -> None:
    loss = with_gamma(DualMarginLoss(COUNTS, scale=8.0, normalise="max").double(), 0.3)
    cosines = random_cosines(5, 4).requires_grad_()
    target = torch.tensor([0, 1, 2, 3, 0])
    assert loss.gamma is not None

    def value(z: torch.Tensor, gamma: torch.Tensor) -> torch.Tensor:
        margins = class_margins(
            loss.relative_rarity, exponent=F.softplus(gamma), base_margin_cos=0.15
        )
        penalty = margin_regularisation(margins, loss.relative_rarity, base_margin_cos=0.15)
        return penalty + dual_margin_loss(
            z, target, class_margins_cos=margins, base_margin_cos=0.15, scale=8.0
        )

    gamma = loss.gamma.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(value, (cosines, gamma))
    loss(cosines, target).backward()
    (expected,) = torch.autograd.grad(value(cosines, gamma), gamma)
    assert loss.gamma.grad is not None
    torch.testing.assert_close(loss.gamma.grad, expected, rtol=1e-12, atol=0)
    assert expected.item() != 0


@pytest.mark.parametrize("gamma", [-1e4, -20.0, 0.5, 20.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("counts", [[1, 1], [10**12, 1], [10**15, 10**15, 1, 1]])
def test_finite_whatever_comes(counts: list[int], dtype: torch.dtype, gamma: float) -> None:
    loss = with_gamma(DualMarginLoss(counts), gamma)
    ends = torch.ones(2, len(counts), dtype=dtype)
    ends[0, 0] = -1.01
    ends[1, 1:] = -1.0
    cosines = ends.requires_grad_()
    value = loss(cosines, torch.tensor([0, 1]))
    value.backward()
    assert value.isfinite()
    assert value.dtype is torch.promote_types(dtype, torch.float32)
    assert cosines.grad is not None
    assert cosines.grad.isfinite().all()
    assert loss.gamma is not None
    assert loss.gamma.grad is not None
    assert loss.gamma.grad.isfinite()


@pytest.mark.parametrize("convert", [DualMarginLoss.half, DualMarginLoss.bfloat16])
def test_a_module_in_half_precision_still_computes_in_float32(
    convert: Callable[[DualMarginLoss], DualMarginLoss],
) -> None:
    cosines, target = random_cosines(4, 4).float(), torch.tensor([0, 1, 2, 3])
    plain = DualMarginLoss(COUNTS)(cosines, target)
    value = convert(DualMarginLoss(COUNTS))(cosines, target)
    assert value.dtype is torch.float32
    torch.testing.assert_close(value, plain, rtol=1e-2, atol=0)


def test_margins_in_half_precision_are_taken_off_in_float32() -> None:
    cosines, target = random_cosines(4, 4).bfloat16(), torch.tensor([0, 1, 2, 3])
    margins = torch.tensor([0.01, 0.02, 0.03, 0.04], dtype=torch.bfloat16)
    half, single = (
        dual_margin_loss(z, target, class_margins_cos=m, base_margin_cos=0.15, scale=32.0)
        for z, m in ((cosines, margins), (cosines.float(), margins.float()))
    )
    assert torch.equal(half, single)


def test_a_class_with_almost_every_image_keeps_a_rarity_above_zero() -> None:
    rarity = relative_rarity([10**15, 1])
    assert rarity[0].item() == pytest.approx(1e-15 / math.log(1e15 + 1), rel=1e-6, abs=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_finite_where_an_embedding_is_its_prototype(dtype: torch.dtype) -> None:
    """The state of a prototype head that starts at the one image of a tail class."""
    head = CosineHead(8, 3)
    embedding = torch.zeros(3, 8, dtype=dtype)
    with torch.no_grad():
        embedding[0] = head.weight[0].to(dtype)
        embedding[1] = -head.weight[1].to(dtype)
    embedding.requires_grad_()  # the third one is zero
    loss = DualMarginLoss([50, 2, 1])
    value = loss(head(embedding), torch.tensor([0, 1, 2]))
    value.backward()
    assert value.isfinite()
    for gradient in (embedding.grad, head.weight.grad, *(p.grad for p in loss.parameters())):
        assert gradient is not None
        assert gradient.isfinite().all()


# (e) permutations


@pytest.mark.parametrize("normalise", ["sum", "max"])
def test_the_order_of_classes_and_images_does_not_matter(normalise: Normalise) -> None:
    cosines, target = random_cosines(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    classes, rows = torch.tensor([2, 0, 3, 1]), torch.tensor([5, 0, 3, 1, 4, 2])
    place = torch.argsort(classes)  # the new index of each old class
    loss = DualMarginLoss(COUNTS, normalise=normalise)
    permuted = DualMarginLoss(torch.tensor(COUNTS)[classes], normalise=normalise)
    torch.testing.assert_close(permuted.margins(), loss.margins()[classes], rtol=1e-6, atol=0)
    torch.testing.assert_close(
        permuted(cosines[rows][:, classes], place[target[rows]]), loss(cosines, target)
    )


# errors


def test_wrong_counts_are_refused() -> None:
    with pytest.raises(DataError, match="at least 2 classes"):
        DualMarginLoss([5])
    with pytest.raises(DataError, match=r"classes \[1\] have \[0\]"):
        DualMarginLoss([5, 0])
    with pytest.raises(DataError, match="at least 2 classes"):
        relative_rarity([5])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_margin_cos": -0.1}, "base_margin_cos"),
        ({"base_margin_cos": float("nan")}, "base_margin_cos"),
        ({"scale": 0.0}, "scale"),
        ({"regularisation": -1.0}, "regularisation"),
        ({"normalise": "mean"}, "'sum' or 'max', but is 'mean'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, float], message: str) -> None:
    make: Callable[..., DualMarginLoss] = DualMarginLoss
    with pytest.raises(ConfigError, match=message):
        make(COUNTS, **options)


def test_margins_of_other_classes_are_refused() -> None:
    with pytest.raises(DataError, match="each of 3 classes"):
        dual_margin_loss(
            torch.zeros(1, 3),
            torch.tensor([0]),
            class_margins_cos=torch.zeros(2),
            base_margin_cos=0.1,
            scale=1.0,
        )


def test_margins_carry_no_gradient() -> None:
    assert not DualMarginLoss(COUNTS).margins().requires_grad
