import sys
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from taxonet.errors import ConfigError, DataError
from taxonet.training.covariance import (
    ClassStatistics,
    TransferOptions,
    sample_weights,
    semantic_covariances,
    transfer,
    transfer_matrices,
    weight_quantiles,
)
from taxonet.training.covariance.matrices import FullCovariances, LowRankCovariances
from tests.reference.covariance import shared_covariance, transferred, weight

Form = Literal["full", "lowrank"]
Normalise = Literal["correlation", "none"]
FORMS: list[Form] = ["full", "lowrank"]
MODES: list[Normalise] = ["correlation", "none"]


def random_maps(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def learned(
    classes: int, channels: int, *, form: Form = "full", seed: int = 0, scale: float = 1.0
) -> ClassStatistics:
    """Statistics in float64 that have seen maps with correlated channels of unequal variance."""
    statistics = ClassStatistics(classes, channels, covariance=form, rank=channels).double()
    mixing = random_maps(classes, channels, channels, seed=seed + 1)
    maps = torch.einsum("kbchw,kcd->kbdhw", random_maps(classes, 3, channels, 3, 3), mixing)
    target = torch.arange(classes).repeat_interleave(3)
    statistics.update(scale * (maps.flatten(0, 1) + 1), target)
    return statistics


def flower_like(channels: int, images: int, seed: int, scale: float = 1.0) -> Tensor:
    """Maps as a network's: a few common directions, rectified, unequal over channels."""
    generator = torch.Generator().manual_seed(seed)
    common = torch.randn(16, channels, generator=torch.Generator().manual_seed(99))
    own = 0.5 * torch.randn(16, channels, generator=generator)
    codes = torch.randn(images, 16, 16, generator=generator)
    noise = 0.3 * torch.randn(images, 16, channels, generator=generator)
    positions = torch.relu(codes @ (common + own) / 4 + noise)
    return scale * positions.transpose(1, 2).reshape(images, channels, 4, 4)


@given(
    channels=st.integers(1, 5),
    tau=st.floats(0.1, 50),
    normalise=st.sampled_from(MODES),
    form=st.sampled_from(FORMS),
    seed=st.integers(0, 1000),
)
def test_equals_the_loop(
    channels: int, tau: float, normalise: Normalise, form: Form, seed: int
) -> None:
    statistics = learned(4, channels, form=form, seed=seed)
    exact = learned(4, channels, seed=seed)
    maps, target = random_maps(5, channels, 2, 3, seed=seed), torch.tensor([2, 0, 3, 2, 2])
    heads = torch.tensor([0, -1, 1, 1, 0])
    options = TransferOptions(tau=tau, normalise=normalise)
    features, weights = transfer(maps, target, heads, statistics=statistics, options=options)
    for i in range(5):
        t, h = int(target[i]), int(heads[i])
        if h < 0:
            assert torch.equal(features[i], maps[i])
            assert weights[i] == 1
            continue
        tail, head = exact.matrix[t].numpy(), exact.matrix[h].numpy()
        expected = transferred(
            maps[i].numpy(), exact.mean[t].numpy(), tail, head, tau=tau, normalise=normalise
        )
        np.testing.assert_allclose(features[i], expected, rtol=1e-6, atol=1e-8)
        shared = shared_covariance(tail, head, tau=tau, normalise=normalise)
        slow = weight(shared, lowest=0.1, highest=10)
        assert weights[i].item() == pytest.approx(slow, rel=1e-6)


def two_classes() -> ClassStatistics:
    """Means 0; the tail's covariance diag(4, 1), the head's [[9, 3], [3, 1]]."""
    statistics = ClassStatistics(2, 2)
    maps = torch.tensor([[[[2.0, 2.0, -2.0, -2.0]], [[1.0, -1.0, 1.0, -1.0]]]])
    statistics.update(maps, torch.tensor([0]))
    head = torch.tensor([[[[3.0, -3.0, 3.0, -3.0]], [[1.0, -1.0, 1.0, -1.0]]]])
    statistics.update(head, torch.tensor([1]))
    return statistics


def test_the_paper_by_hand() -> None:
    # S = diag(4, 1) [[9, 3], [3, 1]] = [[36, 12], [3, 1]]. With tau = log(3) / 2 the second row's
    # softmax is 3 : 1, the first row's (3^12 : 1) all but 1 and 0.
    options = TransferOptions(tau=float(np.log(3) / 2), normalise="none", weight_max=100.0)
    image = torch.tensor([[[[2.0]], [[1.0]]]])
    features, weights = transfer(
        image, torch.tensor([0]), torch.tensor([1]), statistics=two_classes(), options=options
    )
    sharp = 3**12 / (3**12 + 1)
    shared = [[36 * sharp, 12 * (1 - sharp)], [3 * 0.75, 1 * 0.25]]
    # (2, 1) / (2, 1) = (1, 1): the sums of the columns.
    expected = [shared[0][0] + shared[1][0], shared[0][1] + shared[1][1]]
    assert features.flatten().tolist() == pytest.approx(expected, rel=1e-5)
    assert weights.item() == pytest.approx(sum(expected) / 2, rel=1e-5)


def test_correlation_by_hand() -> None:
    # The tail's correlations are the identity, the head's all 1: every cosine is 1 / sqrt(2), every
    # softmax 1/2. Columns sum to 1 / sqrt(2), times the head's deviations 3 and 1.
    image = torch.tensor([[[[2.0]], [[1.0]]]])
    features, weights = transfer(
        image, torch.tensor([0]), torch.tensor([1]), statistics=two_classes()
    )
    assert features.flatten().tolist() == pytest.approx([3 / 2**0.5, 1 / 2**0.5], rel=1e-5)
    assert weights.item() == pytest.approx(1 / 2**0.5, rel=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_a_class_that_borrows_from_itself_keeps_its_features_in_the_sharp_limit(
    form: Form,
) -> None:
    statistics = learned(2, 4, form=form)
    maps, target = random_maps(3, 4, 2, 2), torch.tensor([0, 1, 1])
    features, weights = transfer(
        maps, target, target, statistics=statistics, options=TransferOptions(tau=1e6)
    )
    torch.testing.assert_close(features, maps, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(weights, torch.ones(3, dtype=torch.float64))


def test_the_mean_of_the_class_is_kept() -> None:
    statistics = learned(2, 4)
    mean = statistics.mean[0].reshape(1, 4, 1, 1).expand(1, 4, 2, 2)
    for normalise in MODES:
        features, _ = transfer(
            mean,
            torch.tensor([0]),
            torch.tensor([1]),
            statistics=statistics,
            options=TransferOptions(normalise=normalise),
        )
        torch.testing.assert_close(features, mean)


@pytest.mark.parametrize("scale", [0.1, 1.0, 100.0])
@pytest.mark.parametrize("channels", [64, 256])
@pytest.mark.parametrize("form", FORMS)
def test_the_default_keeps_the_scale_of_the_features(
    scale: float, channels: int, form: Form
) -> None:
    statistics = ClassStatistics(2, channels, covariance=form)
    tail, head = (flower_like(channels, n, seed=n, scale=scale) for n in (6, 40))
    statistics.update(tail, torch.zeros(6, dtype=torch.int64))
    statistics.update(head, torch.ones(40, dtype=torch.int64))
    features, weights = transfer(
        tail,
        torch.zeros(6, dtype=torch.int64),
        torch.ones(6, dtype=torch.int64),
        statistics=statistics,
    )
    mean = statistics.mean[0].reshape(1, -1, 1, 1)
    ratio = float((features - mean).norm() / (tail - mean).norm())
    assert 0.3 < ratio < 1.5
    assert 0.3 < weights.min().item() <= weights.max().item() <= 1


def test_the_default_does_not_depend_on_the_unit_of_the_features() -> None:
    maps, target = random_maps(4, 5, 2, 2), torch.tensor([0, 1, 0, 1])
    heads = torch.tensor([2, 2, 1, 0])
    one, large = learned(3, 5), learned(3, 5, scale=1000.0)
    features, weights = transfer(maps, target, heads, statistics=one)
    larger, same = transfer(1000 * maps, target, heads, statistics=large)
    torch.testing.assert_close(larger / 1000, features, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(same, weights, rtol=1e-9, atol=0)


def test_as_printed_the_features_grow_with_the_fourth_power() -> None:
    one, large = learned(2, 3).moments(torch.tensor([0])), learned(2, 3, scale=10.0)
    options = TransferOptions(normalise="none", tau=1.0)
    cold = TransferOptions(normalise="none", tau=1e-4)
    other = large.moments(torch.tensor([0]))
    torch.testing.assert_close(
        semantic_covariances(other, other, cold), 1e4 * semantic_covariances(one, one, options)
    )


@pytest.mark.parametrize("normalise", MODES)
def test_low_rank_matrices_equal_full_ones(normalise: Normalise) -> None:
    # A factor of rank 2 with a rest: not the covariance of any samples, but a covariance.
    factor, rest = random_maps(3, 6, 2), random_maps(3, 6, seed=1).abs()
    whole = factor @ factor.transpose(1, 2) + torch.diag_embed(rest)
    low, full = LowRankCovariances(factor, rest), FullCovariances(whole)
    scales = random_maps(3, 6, seed=2)
    torch.testing.assert_close(low.times(low), full.times(full))
    torch.testing.assert_close(low.row_norms(), full.row_norms())
    torch.testing.assert_close(low.scaled(scales).times(low), full.scaled(scales).times(full))
    moments = learned(3, 6).moments(torch.arange(3))
    options = TransferOptions(normalise=normalise)
    variance = whole.diagonal(dim1=1, dim2=2)
    (a, v), (b, w) = (
        transfer_matrices(
            moments._replace(variance=variance, covariance=covariance),
            moments._replace(variance=variance, covariance=covariance),
            options,
        )
        for covariance in (low, full)
    )
    torch.testing.assert_close(a, b)
    torch.testing.assert_close(v, w)


def test_a_channel_without_variance_neither_gives_nor_takes() -> None:
    maps = random_maps(4, 3, 2, 2)
    maps[:, 1] = 7.0
    statistics = ClassStatistics(2, 3).double()
    statistics.update(maps, torch.tensor([0, 0, 1, 1]))
    one = statistics.moments(torch.tensor([0]))
    matrices, _ = transfer_matrices(one, one)
    assert not matrices[0, 1].any()
    assert not matrices[0, :, 1].any()
    assert matrices.isfinite().all()


def test_classes_without_covariance_do_not_take_part() -> None:
    statistics = ClassStatistics(3, 2)
    statistics.update(torch.tensor([[[[1.0, 3.0]], [[0.0, 4.0]]]]), torch.tensor([0]))
    statistics.update(torch.ones(1, 2, 1, 1), torch.tensor([1]))  # one position
    maps = torch.full((3, 2, 1, 2), 5.0)
    features, weights = transfer(
        maps, torch.tensor([0, 1, 0]), torch.tensor([1, 0, 2]), statistics=statistics
    )
    assert torch.equal(features, maps)
    assert weights.tolist() == [1, 1, 1]


@pytest.mark.parametrize("normalise", MODES)
def test_gradcheck(normalise: Normalise) -> None:
    statistics = learned(3, 3)
    maps = random_maps(4, 3, 1, 2).requires_grad_()
    target, heads = torch.tensor([0, 1, 2, 0]), torch.tensor([2, -1, 1, 2])
    options = TransferOptions(normalise=normalise, tau=2.0)
    assert torch.autograd.gradcheck(
        lambda x: transfer(x, target, heads, statistics=statistics, options=options).features,
        (maps,),
    )


def test_no_gradient_reaches_statistics_or_weights() -> None:
    statistics = learned(2, 3)
    maps = random_maps(2, 3, 2, 2).requires_grad_()
    features, weights = transfer(
        maps, torch.tensor([0, 0]), torch.tensor([1, 1]), statistics=statistics
    )
    assert features.requires_grad
    assert not weights.requires_grad
    torch.autograd.backward(features.sum())
    assert maps.grad is not None
    # The gradient of a sum is the sum of a row of A, the same at every position.
    matrices, _ = transfer_matrices(
        statistics.moments(torch.tensor([0])), statistics.moments(torch.tensor([1]))
    )
    torch.testing.assert_close(maps.grad[1, :, 0, 1], matrices[0].sum(1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("normalise", MODES)
def test_half_precision_is_computed_in_float32(dtype: torch.dtype, normalise: Normalise) -> None:
    statistics = learned(2, 3).float()
    maps = random_maps(2, 3, 2, 2).to(dtype)
    target, heads = torch.tensor([0, 0]), torch.tensor([1, 1])
    options = TransferOptions(normalise=normalise)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features, weights = transfer(maps, target, heads, statistics=statistics, options=options)
    wide, same = transfer(maps.float(), target, heads, statistics=statistics, options=options)
    assert features.dtype is dtype
    assert weights.dtype is torch.float32
    assert torch.equal(features, wide.to(dtype))
    assert torch.equal(weights, same)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("normalise", MODES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scale", [1e-20, 1e-6, 1e4, 1e15])
def test_nothing_is_ever_not_a_number(
    dtype: torch.dtype, normalise: Normalise, form: Form, scale: float
) -> None:
    maps = torch.cat([random_maps(4, 4, 2, 2), torch.ones(1, 4, 2, 2)])
    maps[:, 3] = 0  # a dead channel
    target = torch.tensor([0, 0, 1, 1, 0])
    statistics = ClassStatistics(2, 4, covariance=form, rank=2)
    statistics.update(scale * maps.float(), target)
    limits = torch.finfo(dtype)
    features = (scale * maps).clamp(limits.min, limits.max).to(dtype).requires_grad_()
    options = TransferOptions(normalise=normalise)
    result = transfer(features, target, 1 - target, statistics=statistics, options=options)
    assert result.features.isfinite().all()
    assert ((result.weights >= 0.1) & (result.weights <= 10)).all()
    torch.autograd.backward(result.features.float().mean())
    assert features.grad is not None
    assert not features.grad.isnan().any()


def test_a_matrix_beyond_float32_changes_nothing() -> None:
    statistics = ClassStatistics(2, 2)
    maps = 1e12 * random_maps(2, 2, 2, 2).float()
    statistics.update(maps, torch.tensor([0, 1]))
    options = TransferOptions(normalise="none")
    features, weights = transfer(
        maps, torch.tensor([0, 0]), torch.tensor([1, 1]), statistics=statistics, options=options
    )
    torch.testing.assert_close(features, maps)
    assert weights.tolist() == [1, 1]


def test_the_order_of_images_classes_and_channels_does_not_matter() -> None:
    maps, target = random_maps(6, 4, 2, 2), torch.tensor([0, 1, 2, 1, 0, 0])
    heads = torch.tensor([3, 2, -1, 3, 1, 3])
    place, rows = torch.tensor([2, 0, 3, 1]), torch.tensor([5, 1, 0, 4, 2, 3])
    channels = torch.tensor([3, 1, 0, 2])
    plain, permuted = (ClassStatistics(4, 4).double() for _ in range(2))
    seen, classes = random_maps(8, 4, 3, 3, seed=5), torch.arange(4).repeat(2)
    plain.update(seen, classes)
    permuted.update(seen[:, channels], place[classes])
    features, weights = transfer(maps, target, heads, statistics=plain)
    moved_heads = torch.where(heads < 0, heads, place[heads.clamp_min(0)])
    others, same = transfer(
        maps[rows][:, channels], place[target[rows]], moved_heads[rows], statistics=permuted
    )
    torch.testing.assert_close(others, features[rows][:, channels])
    torch.testing.assert_close(same, weights[rows])


def test_pairs_in_small_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    maps, target = random_maps(6, 4, 2, 2), torch.tensor([0, 1, 2, 1, 0, 0])
    heads, statistics = torch.tensor([3, 2, 3, 3, 1, 3]), learned(4, 4)
    plain = transfer(maps, target, heads, statistics=statistics)
    monkeypatch.setattr(sys.modules[transfer.__module__], "BLOCK_VALUES", 1)
    blocked = transfer(maps, target, heads, statistics=statistics)
    torch.testing.assert_close(blocked.features, plain.features, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(blocked.weights, plain.weights, rtol=1e-12, atol=0)


def test_weights_stay_in_their_range() -> None:
    shared = torch.tensor([[[-3.0, 1.0], [0.0, 0.0]], [[50.0, 0.0], [0.0, 0.0]], [[1.0, 0.5]] * 2])
    assert sample_weights(shared, lowest=0.5, highest=2.0).tolist() == [0.5, 2.0, 1.5]


def test_quantiles_of_the_weights() -> None:
    weights = torch.tensor([4.0, 1.0, 2.0])
    expected = {"min": 1.0, "q25": 1.5, "median": 2.0, "q75": 3.0, "max": 4.0}
    assert weight_quantiles(weights) == expected
    assert weight_quantiles(weights[:0]) == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tau": 0.0}, "tau must be above 0"),
        ({"tau": float("nan")}, "tau must be a finite number"),
        ({"normalise": "trace"}, "'correlation' or 'none', but is 'trace'"),
        ({"weight_min": -0.1}, "weight_min must be a finite number of at least 0"),
        (
            {"weight_min": 2.0, "weight_max": 1.0},
            "weight_max must be a finite number of at least 2",
        ),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TransferOptions(**options)  # type: ignore[arg-type] # wrong on purpose


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        (torch.tensor([0]), r"int64 of shape \(2,\)"),
        (torch.tensor([0.0, 1.0]), "but got torch.float32"),
        (torch.tensor([0, 2]), r"0\.\.1, or be -1 for none, but got 0 to 2"),
        (torch.tensor([-2, 1]), "got -2 to 1"),
    ],
)
def test_wrong_head_classes_are_refused(heads: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        transfer(torch.zeros(2, 2, 1, 1), torch.tensor([0, 1]), heads, statistics=learned(2, 2))
