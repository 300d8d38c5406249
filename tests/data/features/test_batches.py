from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from taxonet.data import Batch, BatchPlan, Broken, Draw, TailExtension, in_order
from taxonet.data.features import StoredBatches
from taxonet.errors import DataError
from taxonet.seeds import seed_of

PHOTOS = 12
NAMES = [f"{row}.jpg" for row in range(PHOTOS)]
BROKEN = {3: "empty file", 7: "no such file"}


def views(count: int, first: int = 0) -> list[NDArray[np.float32]]:
    """Embeddings that say which view and photo they are of."""
    rows = np.arange(PHOTOS, dtype=np.float32)
    return [
        np.stack([np.full(PHOTOS, view, np.float32), rows], axis=1)
        for view in range(first, first + count)
    ]


def scattered(value: int) -> int:
    """The finaliser of SplitMix64, on a Python integer."""
    value = (value + 0x9E3779B97F4A7C15) % 2**64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) % 2**64
    return value ^ (value >> 31)


def one_by_one(draws: Sequence[Draw], count: int, tails: int, seed: int) -> Batch:
    images, rows, parts, broken = [], [], [], []
    for draw in draws:
        if draw.row in BROKEN:
            broken.append(Broken(draw.row, BROKEN[draw.row]))
            continue
        key = seed_of("stored view", seed, NAMES[draw.row])
        choice = scattered(scattered(key ^ draw.epoch) ^ draw.number)
        if draw.view == "plain":
            view = views(count)[0]
        elif draw.view == "tail" and tails:
            view = views(tails, first=100)[choice % tails]
        else:
            view = views(count)[choice % count]
        images.append(view[draw.row])
        rows.append(draw.row)
        parts.append(draw.part)
    return Batch(
        torch.tensor(np.array(images, np.float32).reshape(len(images), 2)),
        torch.tensor(rows, dtype=torch.int64),
        torch.tensor(parts, dtype=torch.int64),
        broken,
    )


draws_of_a_batch = st.lists(
    st.builds(
        Draw,
        row=st.integers(0, PHOTOS - 1),
        epoch=st.integers(0, 10**6),
        view=st.sampled_from(["plain", "train", "tail", "second stage"]),
        number=st.integers(0, 10**9),
        part=st.integers(0, 3),
    ),
    max_size=30,
)


@given(
    plan=st.lists(draws_of_a_batch, max_size=3),
    count=st.integers(1, 4),
    tails=st.integers(0, 3),
    seed=st.integers(0, 5),
)
def test_batches_equal_those_made_one_by_one(
    plan: list[list[Draw]], count: int, tails: int, seed: int
) -> None:
    source = StoredBatches(
        NAMES, views(count), tail_views=views(tails, first=100), broken=BROKEN, seed=seed
    )
    found = list(source.batches(plan))
    assert len(found) == len(plan)
    for batch, draws in zip(found, plan, strict=True):
        expected = one_by_one(draws, count, tails, seed)
        for tensor, other in zip(batch[:3], expected[:3], strict=True):
            assert tensor.dtype == other.dtype
            assert torch.equal(tensor, other)
        assert batch.broken == expected.broken


def test_rows_have_names() -> None:
    source = StoredBatches(NAMES, views(1))
    assert (len(source), source.name(4)) == (PHOTOS, "4.jpg")


def test_one_view_serves_every_draw() -> None:
    plan = BatchPlan(
        [0] * 10 + [1, 1],
        batch_size=4,
        seed=0,
        tail=TailExtension(extra=2, probability=1, tail_shots=5),
    )
    source = StoredBatches(NAMES, views(1), broken=BROKEN)
    for batch in source.batches(plan.batches(0)):
        assert not batch.images[:, 0].any()
        assert torch.equal(batch.images[:, 1].long(), batch.rows)
        assert batch.part[-2:].tolist() == [1, 1]


def test_prediction_sees_the_plain_view() -> None:
    source = StoredBatches(NAMES, views(3), broken=BROKEN)
    batches = list(source.batches(in_order(PHOTOS, 5), workers=2))
    assert [batch.rows.tolist() for batch in batches] == [[0, 1, 2, 4], [5, 6, 8, 9], [10, 11]]
    assert not torch.cat([batch.images for batch in batches])[:, 0].any()
    assert [broken.row for batch in batches for broken in batch.broken] == [3, 7]


@pytest.mark.parametrize("varied", ["epoch", "number", "row", "seed"])
def test_views_are_equally_likely(varied: str) -> None:
    count = 6000
    names = [f"{number}.jpg" for number in range(count)]
    arrays = [np.full((count, 1), view, np.float32) for view in range(3)]
    if varied == "seed":
        small, plan = [array[:1] for array in arrays], [[Draw(0, 0, "train")]]
        chosen = [
            next(StoredBatches(names[:1], small, seed=seed).batches(plan)).images.item()
            for seed in range(count)
        ]
    else:
        values = {"row": 0, "epoch": 0, "number": 0}
        draws = [Draw(view="train", **{**values, varied: value}) for value in range(count)]
        (batch,) = StoredBatches(names, arrays).batches([draws])
        chosen = batch.images[:, 0].tolist()
    counts = Counter(chosen)
    # Six standard deviations of a binomial count of 6000 with the chance of a third.
    assert all(abs(counts[view] - count / 3) < 6 * 37 for view in range(3))


def test_a_photo_is_seen_alike_wherever_it_stands() -> None:
    arrays = views(4)
    source = StoredBatches(NAMES, arrays, seed=1)
    draws = [Draw(row, 5, "train", number=row) for row in range(PHOTOS)]
    (batch,) = source.batches([draws])
    turned = StoredBatches(NAMES[::-1], [array[::-1] for array in arrays], seed=1)
    moved = [draw._replace(row=PHOTOS - 1 - draw.row) for draw in draws]
    (other,) = turned.batches([moved])
    assert torch.equal(batch.images, other.images)


def test_the_embeddings_of_broken_photos_are_never_read() -> None:
    array = np.full((2, 2), np.nan, np.float32)
    array[0] = 1
    (batch,) = StoredBatches(NAMES[:2], [array], broken={1: "empty file"}).batches(in_order(2, 2))
    assert batch.images.tolist() == [[1, 1]]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ([], "at least the plain view"),
        ([np.zeros((PHOTOS, 2))], "got float64"),
        ([np.zeros((PHOTOS - 1, 2), np.float32)], r"of shape \(12, 2\), got .* \(11, 2\)"),
        ([*views(1), np.zeros((PHOTOS, 3), np.float32)], r"of shape \(12, 2\), got .* \(12, 3\)"),
    ],
)
def test_views_must_be_of_one_shape(arrays: list[NDArray[np.float32]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        StoredBatches(NAMES, arrays)
