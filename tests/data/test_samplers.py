from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxonet.data import BatchPlan
from taxonet.data.samplers import (
    ClassBalancedSampler,
    InstanceBalancedSampler,
    ProgressiveSampler,
    ReversedSampler,
    Sampler,
    SquareRootSampler,
    epoch_rows,
    occurrences,
)
from taxonet.registry import SAMPLERS

COUNTS = np.array([640, 160, 40])
counts_of_classes = st.lists(st.integers(1, 500), min_size=1, max_size=8)


def rows_of(counts: np.ndarray) -> list[np.ndarray]:
    ends = np.cumsum(counts)
    return [np.arange(end - count, end) for count, end in zip(counts, ends, strict=True)]


def shares(sampler: Sampler, *, progress: float = 0.0, epochs: int = 60) -> np.ndarray:
    """The share of each class in many epochs."""
    found = np.zeros(len(COUNTS))
    for epoch in range(epochs):
        rows = epoch_rows(sampler, rows_of(COUNTS), np.random.default_rng(epoch), progress=progress)
        found += np.bincount(np.searchsorted(np.cumsum(COUNTS), rows, side="right"), minlength=3)
    share: np.ndarray = found / found.sum()
    return share


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [
        (InstanceBalancedSampler(), [16 / 21, 4 / 21, 1 / 21]),
        (SquareRootSampler(), [4 / 7, 2 / 7, 1 / 7]),
        (ClassBalancedSampler(), [1 / 3, 1 / 3, 1 / 3]),
        (ReversedSampler(), [1 / 21, 4 / 21, 16 / 21]),
    ],
)
def test_classes_come_as_often_as_they_should(sampler: Sampler, expected: list[float]) -> None:
    np.testing.assert_allclose(sampler.class_probs(COUNTS, 0.0), expected, rtol=1e-12)
    # 50,400 draws: a share's standard deviation is at most 0.0023.
    np.testing.assert_allclose(shares(sampler), expected, atol=0.01)


def test_progressive_goes_from_one_to_the_other() -> None:
    sampler = ProgressiveSampler()
    ends = (InstanceBalancedSampler(), ClassBalancedSampler())
    for progress, end in zip((0.0, 1.0), ends, strict=True):
        np.testing.assert_allclose(
            sampler.class_probs(COUNTS, progress), end.class_probs(COUNTS, progress)
        )
    between = sampler.class_probs(COUNTS, 0.25)
    np.testing.assert_allclose(between, 0.75 * COUNTS / 840 + 0.25 / 3, rtol=1e-12)


@given(counts=counts_of_classes, name=st.sampled_from(SAMPLERS.names()), seed=st.integers(0, 99))
def test_an_epoch_holds_as_many_draws_as_images(counts: list[int], name: str, seed: int) -> None:
    sampler = SAMPLERS.build(name, {})
    rows = epoch_rows(sampler, rows_of(np.array(counts)), np.random.default_rng(seed), progress=0.5)
    assert len(rows) == sum(counts)
    assert set(rows.tolist()) <= set(range(sum(counts)))
    assert sampler.class_probs(np.array(counts), 0.5).sum() == pytest.approx(1)


@given(counts=counts_of_classes, seed=st.integers(0, 99))
def test_within_a_class_each_image_comes_once_before_any_again(
    counts: list[int], seed: int
) -> None:
    groups = rows_of(np.array(counts))
    rows = epoch_rows(ClassBalancedSampler(), groups, np.random.default_rng(seed), progress=0.0)
    times = Counter(rows.tolist())
    for group in groups:
        of_group = [times[int(row)] for row in group]
        assert max(of_group) - min(of_group) <= 1


@given(rows=st.lists(st.integers(0, 5), max_size=30))
def test_occurrences_equal_the_loop(rows: list[int]) -> None:
    slow = [rows[:i].count(row) for i, row in enumerate(rows)]
    assert occurrences(np.array(rows, dtype=np.int64)).tolist() == slow


def test_every_draw_of_an_image_is_told_apart() -> None:
    targets = np.repeat([0, 1, 2], COUNTS // 10)
    plan = BatchPlan(
        targets, batch_size=8, seed=0, sampler=ReversedSampler(), twin=ClassBalancedSampler()
    )
    draws = [draw for batch in plan.batches(0) for draw in batch]
    assert len({(draw.row, draw.view, draw.number) for draw in draws}) == len(draws)
    assert len({draw.row for draw in draws}) < len(draws)


def test_a_twin_batch_is_as_long_as_the_batch_and_drawn_otherwise() -> None:
    targets = np.repeat([0, 1, 2], COUNTS)
    plan = BatchPlan(targets, batch_size=40, seed=0, twin=ReversedSampler())
    batches = list(plan.batches(0))
    assert all(Counter(draw.part for draw in batch) == {0: 40, 1: 40} for batch in batches)
    of_part = [
        Counter(int(targets[draw.row]) for batch in batches for draw in batch if draw.part == part)
        for part in (0, 1)
    ]
    assert of_part[0] == {0: 640, 1: 160, 2: 40}
    assert of_part[1][2] > of_part[1][1] > of_part[1][0]


def test_further_views_follow_in_the_order_of_the_batch() -> None:
    plan = BatchPlan(np.arange(12), batch_size=4, seed=0, further_views=("contrast", "contrast"))
    for batch in plan.batches(1):
        assert [draw.part for draw in batch] == [0] * 4 + [1] * 4 + [2] * 4
        rows = [draw.row for draw in batch]
        assert rows[:4] == rows[4:8] == rows[8:]
        assert [draw.view for draw in batch[4:]] == ["contrast"] * 8
        assert all(a.number != b.number for a, b in zip(batch[4:8], batch[8:], strict=True))


def test_a_sampler_that_changes_is_told_how_far_the_training_is() -> None:
    targets = np.repeat([0, 1], [300, 12])
    plan = BatchPlan(
        targets, batch_size=8, seed=0, epochs=5, sampler=SAMPLERS.build("progressive", {})
    )
    rare = [
        sum(int(targets[draw.row]) for batch in plan.batches(epoch) for draw in batch)
        for epoch in range(5)
    ]
    assert rare[0] < 40
    assert rare[-1] > 120
    assert rare == sorted(rare)
