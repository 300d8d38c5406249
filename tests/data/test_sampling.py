from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxonet.data import BatchPlan, Draw, TailExtension, in_order
from taxonet.errors import ConfigError, DataError

LONG_TAIL = [0] * 90 + [1] * 30 + [2] * 4 + [3] * 2 + [-1] * 5


@given(
    images=st.integers(2, 60),
    batch_size=st.integers(2, 9),
    world_size=st.integers(1, 4),
    epoch=st.integers(0, 3),
)
def test_ranks_share_an_epoch(images: int, batch_size: int, world_size: int, epoch: int) -> None:
    if images // world_size < 2:
        return
    plans = [
        BatchPlan([0] * images, batch_size=batch_size, seed=1, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    batches = [list(plan.batches(epoch)) for plan in plans]
    sizes = [[len(batch) for batch in of_rank] for of_rank in batches]
    assert len(sizes[0]) == plans[0].steps
    assert all(of_rank == sizes[0] for of_rank in sizes)
    assert all(2 <= len(batch) <= batch_size for of_rank in batches for batch in of_rank)
    rows = [draw.row for of_rank in batches for batch in of_rank for draw in batch]
    assert len(set(rows)) == len(rows)
    # Only what would make ranks unequal, or a batch of one image, waits for another epoch.
    assert images - len(rows) < 2 * world_size


@pytest.mark.parametrize(("images", "steps"), [(8, 2), (9, 2), (10, 3), (12, 3)])
def test_a_trailing_batch_of_one_is_dropped(images: int, steps: int) -> None:
    plan = BatchPlan([0] * images, batch_size=4, seed=0)
    assert plan.steps == steps == len(list(plan.batches(0)))


def test_rows_without_a_class_are_not_drawn() -> None:
    plan = BatchPlan([-1, 0, -1, 1, 1], batch_size=3, seed=0)
    assert sorted(draw.row for batch in plan.batches(0) for draw in batch) == [1, 3, 4]


def test_epochs_and_seeds_differ() -> None:
    orders = {
        tuple(draw.row for batch in BatchPlan([0] * 20, batch_size=5, seed=seed).batches(epoch)
              for draw in batch)
        for seed in range(3)
        for epoch in range(3)
    }  # fmt: skip
    assert len(orders) == 9


@given(start=st.integers(0, 40), seed=st.integers(0, 3))
def test_starting_late_gives_exactly_the_rest(start: int, seed: int) -> None:
    tail = TailExtension(extra=3, probability=0.5, tail_shots=10)
    plan = BatchPlan(LONG_TAIL, batch_size=4, seed=seed, tail=tail)
    assert list(plan.batches(2, start)) == list(plan.batches(2))[start:]


def test_the_tail_extension_draws_classes_evenly_and_at_its_rate() -> None:
    tail = TailExtension(extra=8, probability=0.25, tail_shots=30)
    plan = BatchPlan(LONG_TAIL, batch_size=4, seed=0, tail=tail)
    assert plan.has_tail
    assert plan.tail_rows.tolist() == [120, 121, 122, 123, 124, 125]
    extended, batches, drawn = 0, 0, Counter[int]()
    for epoch in range(60):
        for batch in plan.batches(epoch):
            own = [draw for draw in batch if draw.view == "train"]
            extra = [draw for draw in batch if draw.view == "tail"]
            assert batch == own + extra
            assert len(extra) in (0, 8)
            batches += 1
            extended += bool(extra)
            drawn.update(draw.row for draw in extra)
    # Four standard deviations either way.
    assert abs(extended / batches - 0.25) < 4 * (0.25 * 0.75 / batches) ** 0.5
    assert set(drawn) == set(plan.tail_rows.tolist())
    of_class_3 = (drawn[124] + drawn[125]) / drawn.total()
    assert abs(of_class_3 - 0.5) < 4 * (0.25 / drawn.total()) ** 0.5


def test_repeated_draws_of_an_epoch_are_told_apart() -> None:
    tail = TailExtension(extra=8, probability=1, tail_shots=3)
    plan = BatchPlan(LONG_TAIL, batch_size=4, seed=0, tail=tail)
    draws = [draw for batch in plan.batches(0) for draw in batch]
    assert len(set(draws)) == len(draws)


def test_ranks_extend_together_with_different_images() -> None:
    tail = TailExtension(extra=8, probability=0.5, tail_shots=10)
    plans = [
        BatchPlan(LONG_TAIL, batch_size=4, seed=0, rank=rank, world_size=2, tail=tail)
        for rank in range(2)
    ]
    tails = [[[d for d in b if d.view == "tail"] for b in plan.batches(0)] for plan in plans]
    assert [len(draws) for draws in tails[0]] == [len(draws) for draws in tails[1]]
    assert tails[0] != tails[1]


@pytest.mark.parametrize("tail", [None, TailExtension(tail_shots=2)])
def test_without_a_tail_class_nothing_is_added(tail: TailExtension | None) -> None:
    plan = BatchPlan(LONG_TAIL, batch_size=4, seed=0, tail=tail)
    assert not plan.has_tail
    assert plan.tail_rows.dtype == np.int64
    assert plan.tail_rows.size == 0
    assert {draw.view for batch in plan.batches(0) for draw in batch} == {"train"}


def test_rows_in_order() -> None:
    assert list(in_order(3, 2)) == [
        [Draw(0, 0, "plain"), Draw(1, 0, "plain")],
        [Draw(2, 0, "plain")],
    ]


def test_arguments_out_of_range() -> None:
    with pytest.raises(ConfigError, match="batch_size"):
        BatchPlan([0, 0], batch_size=1, seed=0)
    with pytest.raises(ConfigError, match="rank"):
        BatchPlan([0, 0], batch_size=2, seed=0, rank=1)
    with pytest.raises(DataError, match="at least 2 labelled images for each of the 2"):
        BatchPlan([0, 0, 1, -1], batch_size=2, seed=0, world_size=2)
    for options in ({"extra": 0}, {"probability": 1.5}, {"tail_shots": 0}):
        with pytest.raises(ConfigError):
            TailExtension(**options)
