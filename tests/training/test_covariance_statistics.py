from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from taxonet.errors import ConfigError, DataError
from taxonet.training.covariance import ClassStatistics
from taxonet.training.covariance import statistics as module
from taxonet.training.covariance.matrices import FullCovariances, LowRankCovariances
from taxonet.training.covariance.sketch import combined_factor
from tests.reference.covariance import SlowStatistics

Form = Literal["full", "lowrank"]
FORMS: list[Form] = ["full", "lowrank"]


def random_maps(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def whole(statistics: ClassStatistics, k: int) -> Tensor:
    covariance = statistics.moments(torch.tensor([k])).covariance
    if isinstance(covariance, FullCovariances):
        return covariance.matrix[0]
    assert isinstance(covariance, LowRankCovariances)
    factor = covariance.factor[0]
    return factor @ factor.T + torch.diag(covariance.rest[0])


@given(
    batches=st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=4),
    channels=st.integers(1, 4),
    height=st.integers(1, 3),
    momentum=st.sampled_from([None, 0.05, 1.0]),
    covariance=st.sampled_from(FORMS),
)
def test_equals_the_loop(
    batches: list[list[int]],
    channels: int,
    height: int,
    momentum: float | None,
    covariance: Form,
) -> None:
    fast = ClassStatistics(
        4,
        channels,
        covariance=covariance,
        rank=channels,
        momentum="dynamic" if momentum is None else momentum,
    ).double()
    slow = SlowStatistics(momentum=momentum)
    for step, target in enumerate(batches):
        maps = random_maps(len(target), channels, height, 2, seed=step)
        fast.update(maps, torch.tensor(target))
        slow.update(maps.numpy(), target)
    for k, images in slow.images.items():
        assert fast.images[k] == images
        np.testing.assert_allclose(fast.mean[k], slow.mean[k], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(
            fast.variance[k], np.diag(slow.covariance[k]), rtol=1e-10, atol=1e-12
        )
        np.testing.assert_allclose(whole(fast, k), slow.covariance[k], rtol=1e-7, atol=1e-10)
    unseen = [k for k in range(4) if k not in slow.images]
    assert not fast.images[unseen].any()
    assert not fast.mean[unseen].any()
    assert not fast.has_covariance[unseen].any()


def test_a_case_by_hand() -> None:
    statistics = ClassStatistics(2, 2)
    # Class 1: positions (1, 0), (3, 4): mean (2, 2), covariance [[1, 2], [2, 4]].
    statistics.update(torch.tensor([[[[1.0, 3.0]], [[0.0, 4.0]]]]), torch.tensor([1]))
    assert statistics.mean.tolist() == [[0, 0], [2, 2]]
    torch.testing.assert_close(statistics.matrix[1], torch.tensor([[1.0, 2.0], [2.0, 4.0]]))
    # Two images more: n = 3, a = 2/3; four positions (5, 2) thrice and (9, 2): mean (6, 2),
    # covariance [[3, 0], [0, 0]].
    more = torch.tensor([[[[5.0, 5.0]], [[2.0, 2.0]]], [[[5.0, 9.0]], [[2.0, 2.0]]]])
    statistics.update(more, torch.tensor([1, 1]))
    assert statistics.images.tolist() == [0, 3]
    torch.testing.assert_close(statistics.mean[1], torch.tensor([14 / 3, 2.0]))
    torch.testing.assert_close(
        statistics.matrix[1], torch.tensor([[1 / 3 + 2, 2 / 3], [2 / 3, 4 / 3]])
    )


def test_a_fixed_momentum_by_hand() -> None:
    statistics = ClassStatistics(1, 1, momentum=0.25)
    for low, high in [(0.0, 2.0), (4.0, 12.0)]:
        statistics.update(torch.tensor([[[[low, high]]]]), torch.tensor([0]))
    # Means 1 and 8, variances 1 and 16; the first batch counts whole.
    assert statistics.mean.item() == pytest.approx(0.75 * 1 + 0.25 * 8)
    assert statistics.matrix.item() == pytest.approx(0.75 * 1 + 0.25 * 16)


@pytest.mark.parametrize("form", FORMS)
def test_two_half_batches_are_the_rule_applied_twice(form: Form) -> None:
    maps, target = random_maps(8, 3, 2, 2), torch.tensor([0, 1, 0, 1, 1, 1, 0, 0])
    halves = ClassStatistics(2, 3, covariance=form, rank=3).double()
    halves.update(maps[:4], target[:4])
    halves.update(maps[4:], target[4:])
    for k in range(2):
        first, second = (
            maps[rows][target[rows] == k].transpose(0, 1).flatten(1)
            for rows in (slice(0, 4), slice(4, 8))
        )
        # Each half holds two images of the class: a = 1, then a = 1/2.
        mean = (first.mean(1) + second.mean(1)) / 2
        covariances = (torch.cov(first, correction=0) + torch.cov(second, correction=0)) / 2
        torch.testing.assert_close(halves.mean[k], mean)
        torch.testing.assert_close(whole(halves, k), covariances)


def test_the_covariance_is_that_of_numpy() -> None:
    maps = random_maps(5, 4, 3, 2)
    statistics = ClassStatistics(1, 4).double()
    statistics.update(maps, torch.zeros(5, dtype=torch.int64))
    samples = maps.transpose(0, 1).flatten(1)
    np.testing.assert_allclose(statistics.matrix[0], np.cov(samples, ddof=0), rtol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_the_order_of_classes_and_images_does_not_matter(form: Form) -> None:
    maps, target = random_maps(9, 3, 2, 2), torch.tensor([0, 2, 1, 2, 2, 0, 1, 3, 3])
    place, rows = torch.tensor([2, 0, 3, 1]), torch.tensor([8, 1, 5, 0, 7, 3, 2, 6, 4])
    plain = ClassStatistics(4, 3, covariance=form, rank=2).double()
    permuted = ClassStatistics(4, 3, covariance=form, rank=2).double()
    for _ in range(2):
        plain.update(maps, target)
        permuted.update(maps[rows], place[target[rows]])
    for k in range(4):
        there = int(place[k])
        torch.testing.assert_close(permuted.mean[there], plain.mean[k])
        torch.testing.assert_close(permuted.variance[there], plain.variance[k])
        torch.testing.assert_close(whole(permuted, there), whole(plain, k))


def test_small_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    maps, target = random_maps(9, 3, 2, 2), torch.tensor([0, 2, 1, 2, 2, 0, 1, 3, 3])
    plain, blocked = ClassStatistics(4, 3).double(), ClassStatistics(4, 3).double()
    plain.update(maps, target)
    monkeypatch.setattr(module, "BLOCK_VALUES", 1)
    blocked.update(maps, target)
    torch.testing.assert_close(blocked.matrix, plain.matrix, rtol=1e-12, atol=1e-14)


def test_low_rank_is_exact_where_the_rank_suffices() -> None:
    directions = random_maps(2, 6, seed=1)
    full = ClassStatistics(1, 6).double()
    low = ClassStatistics(1, 6, covariance="lowrank", rank=2).double()
    for step in range(5):
        codes = random_maps(3, 4, 2, seed=step + 2)
        maps = (codes @ directions).transpose(1, 2).reshape(3, 6, 2, 2)
        for statistics in (full, low):
            statistics.update(maps, torch.zeros(3, dtype=torch.int64))
    torch.testing.assert_close(whole(low, 0), full.matrix[0], rtol=1e-9, atol=1e-11)
    covariance = low.moments(torch.tensor([0])).covariance
    assert isinstance(covariance, LowRankCovariances)
    assert covariance.rest.max() < 1e-10


def test_low_rank_keeps_the_variances_and_the_best_directions_of_one_batch() -> None:
    maps = random_maps(4, 6, 3, 3)
    full = ClassStatistics(1, 6).double()
    low = ClassStatistics(1, 6, covariance="lowrank", rank=2).double()
    for statistics in (full, low):
        statistics.update(maps, torch.zeros(4, dtype=torch.int64))
    values, vectors = torch.linalg.eigh(full.matrix[0])
    best = (vectors[:, -2:] * values[-2:]) @ vectors[:, -2:].T
    torch.testing.assert_close(low.factor[0] @ low.factor[0].T, best, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(whole(low, 0).diagonal(), full.matrix[0].diagonal())


def test_low_rank_never_exceeds_the_covariance() -> None:
    full = ClassStatistics(1, 8).double()
    low = ClassStatistics(1, 8, covariance="lowrank", rank=3).double()
    for step in range(10):
        for statistics in (full, low):
            maps = random_maps(2, 8, 2, 2, seed=step)
            statistics.update(maps, torch.zeros(2, dtype=torch.int64))
    left = full.matrix[0] - low.factor[0] @ low.factor[0].T
    assert torch.linalg.eigvalsh(left).min() > -1e-10
    assert torch.linalg.eigvalsh(left).max() > 0.01


@pytest.mark.parametrize("samples", [2, 9])
def test_the_smaller_and_the_larger_side_agree(samples: int) -> None:
    # Two samples go by the columns, nine by the channels.
    factor, centred = random_maps(2, 6, 2), random_maps(2, samples, 6, seed=1)
    share = torch.tensor([0.25, 0.5], dtype=torch.float64)
    new = combined_factor(factor, centred, share)
    for u in range(2):
        old = (1 - share[u]) * factor[u] @ factor[u].T
        target = old + share[u] * centred[u].T @ centred[u] / samples
        values, vectors = torch.linalg.eigh(target)
        best = (vectors[:, -2:] * values[-2:]) @ vectors[:, -2:].T
        torch.testing.assert_close(new[u] @ new[u].T, best, rtol=1e-9, atol=1e-11)


def test_one_position_has_no_covariance() -> None:
    statistics = ClassStatistics(3, 2)
    statistics.update(random_maps(3, 2, 1, 1).float(), torch.tensor([0, 1, 1]))
    assert statistics.has_covariance.tolist() == [False, True, False]
    assert not statistics.matrix[0].any()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_a_class_with_an_overflow_stays_as_it_was(value: float) -> None:
    statistics = ClassStatistics(2, 2, covariance="lowrank", rank=1)
    maps = random_maps(2, 2, 2, 2).float()
    statistics.update(maps, torch.tensor([0, 1]))
    before = {name: buffer.clone() for name, buffer in statistics.state_dict().items()}
    maps[0, 0, 0, 0] = value
    statistics.update(maps, torch.tensor([0, 1]))
    for name, buffer in statistics.state_dict().items():
        assert torch.equal(buffer[0], before[name][0])
    assert statistics.images.tolist() == [1, 2]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_maps_are_taken_in_float32(dtype: torch.dtype) -> None:
    maps = random_maps(4, 3, 4, 4).to(dtype) + 100
    target = torch.tensor([0, 0, 1, 1])
    half, wide = ClassStatistics(2, 3), ClassStatistics(2, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half.update(maps, target)
    wide.update(maps.float(), target)
    assert half.matrix.dtype is torch.float32
    torch.testing.assert_close(half.matrix, wide.matrix, rtol=0, atol=0)


def test_half_precision_storage_is_close() -> None:
    plain = ClassStatistics(2, 4, covariance="lowrank", rank=2)
    stored = ClassStatistics(2, 4, covariance="lowrank", rank=2, dtype=torch.float16)
    for step in range(3):
        maps = random_maps(4, 4, 3, 3, seed=step).float()
        for statistics in (plain, stored):
            statistics.update(maps, torch.tensor([0, 0, 1, 1]))
    assert stored.factor.dtype is torch.float16
    torch.testing.assert_close(whole(stored, 0), whole(plain, 0), rtol=0.01, atol=0.01)


def test_no_gradient_is_kept_and_buffers_are_saved() -> None:
    maps = random_maps(2, 3, 2, 2).float().requires_grad_()
    statistics = ClassStatistics(2, 3)
    statistics.update(maps, torch.tensor([0, 1]))
    assert not statistics.matrix.requires_grad
    again = ClassStatistics(2, 3)
    again.load_state_dict(statistics.state_dict())
    assert torch.equal(again.matrix, statistics.matrix)
    assert again.images.tolist() == [1, 1]
    assert sorted(again.state_dict()) == ["images", "matrix", "mean", "variance"]
    assert not list(again.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": 0.0}, "momentum must be 'dynamic' or lie in"),
        ({"momentum": 1.5}, "is 1.5"),
        ({"momentum": "fixed"}, "is 'fixed'"),
        ({"covariance": "lowrank", "rank": 4}, "1 to the 3 channels, but is 4"),
        ({"covariance": "diagonal"}, "is 'diagonal'"),
        ({"dtype": torch.int64}, "floating-point type, but is torch.int64"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ClassStatistics(2, 3, **options)  # type: ignore[arg-type] # wrong on purpose
    with pytest.raises(ConfigError, match="at least 1 class"):
        ClassStatistics(0, 3)


@pytest.mark.parametrize(
    ("maps", "target", "message"),
    [
        (torch.zeros(1, 3), torch.tensor([0]), r"shape \(B, 3, H, W\)"),
        (torch.zeros(1, 4, 1, 1), torch.tensor([0]), r"shape \(1, 4, 1, 1\)"),
        (torch.zeros(1, 3, 0, 1), torch.tensor([0]), "at least 1"),
        (torch.zeros(1, 3, 1, 1), torch.tensor([0, 1]), r"int64 of shape \(1,\)"),
        (torch.zeros(1, 3, 1, 1), torch.tensor([2]), r"0\.\.1, but got 2 to 2"),
    ],
)
def test_wrong_maps_are_refused(maps: Tensor, target: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ClassStatistics(2, 3).update(maps, target)


def test_the_repr_tells_the_options() -> None:
    assert repr(ClassStatistics(2, 3, covariance="lowrank", rank=1)) == (
        "ClassStatistics(2, 3, covariance='lowrank', rank=1, momentum='dynamic')"
    )
