import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import DataError
from taxonet.training.second_stage import CachedEmbeddings, class_means
from tests.reference import prototypes as slow


def draw(rows: int, size: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((rows, size)))


@given(rows=st.integers(3, 30), size=st.integers(1, 4), seed=st.integers(0, 1000))
def test_means_equal_the_loop(rows: int, size: int, seed: int) -> None:
    embeddings, targets = draw(rows, size, seed), torch.arange(rows) % 3
    expected = slow.class_means(embeddings.numpy(), targets.tolist(), 3)
    torch.testing.assert_close(
        class_means(embeddings, targets, 3), torch.tensor(expected, dtype=torch.float64)
    )


def test_means_by_hand() -> None:
    embeddings = torch.tensor([[1.0, 0.0], [5.0, 5.0], [2.0, 3.0]])
    assert class_means(embeddings, torch.tensor([1, 0, 1]), 2).tolist() == [[5.0, 5.0], [1.5, 1.5]]


def test_sums_are_made_in_float64() -> None:
    """Row by row in float32, the ones are lost beside 2^24 and the mean is 2^24 / 40001."""
    embeddings = torch.ones(40_001, 1)
    embeddings[0] = 2.0**24
    mean = class_means(embeddings, torch.zeros(40_001, dtype=torch.int64), 1).item()
    assert mean == pytest.approx((2**24 + 40_000) / 40_001, rel=1e-7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_mean_of_one_image_is_its_embedding(dtype: torch.dtype) -> None:
    embeddings = (6e4 * draw(3, 5).clamp(-1, 1)).to(dtype)
    means = class_means(embeddings, torch.tensor([2, 0, 1]), 3)
    assert means.dtype is torch.promote_types(dtype, torch.float32)
    assert torch.equal(means[torch.tensor([2, 0, 1])], embeddings.to(means.dtype))


def test_the_order_of_images_and_classes_does_not_matter() -> None:
    embeddings, targets = draw(40, 3), torch.arange(40) % 4
    rows, classes = torch.randperm(40, generator=torch.Generator().manual_seed(0)), [2, 0, 3, 1]
    place = torch.argsort(torch.tensor(classes))
    permuted = class_means(embeddings[rows], place[targets[rows]], 4)
    torch.testing.assert_close(permuted, class_means(embeddings, targets, 4)[classes])


@pytest.mark.parametrize(
    ("embeddings", "targets", "message"),
    [
        (torch.zeros(3), torch.tensor([0, 1, 1]), r"shape \(N, d\)"),
        (torch.zeros(3, 2, dtype=torch.int64), torch.tensor([0, 1, 1]), "floating-point"),
        (torch.zeros(3, 2), torch.tensor([0, 1]), r"shape \(3,\)"),
        (torch.zeros(3, 2), torch.tensor([0.0, 1.0, 1.0]), "int64"),
        (torch.zeros(3, 2), torch.tensor([0, 2, 1]), "row 1 has 2"),
        (torch.zeros(3, 2), torch.tensor([0, 1, -1]), "row 2 has -1"),
        (torch.zeros(3, 2), torch.tensor([1, 1, 1]), "first of index 0"),
        (torch.zeros(0, 2), torch.tensor([], dtype=torch.int64), "2 of 2 have none"),
        (torch.tensor([[0.0], [1.0], [float("nan")]]), torch.tensor([0, 1, 1]), "row 2 is not"),
    ],
)
def test_wrong_embeddings_are_refused(
    embeddings: torch.Tensor, targets: torch.Tensor, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        class_means(embeddings, targets, 2)


def test_a_row_is_named_beyond_the_first_block() -> None:
    embeddings = torch.zeros(20_000, 1)
    embeddings[17_000] = float("inf")
    with pytest.raises(DataError, match="row 17000"):
        class_means(embeddings, torch.arange(20_000) % 2, 2)


def test_cached_embeddings_are_the_same_in_every_epoch() -> None:
    source = CachedEmbeddings(draw(4, 2), torch.tensor([0, 1, 0, 1]))
    first, later = source.epoch(0), source.epoch(5)
    assert first[0] is later[0]
    assert first[1] is later[1]
