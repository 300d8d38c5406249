import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import DataError
from taxonet.metrics import ConfusionCounts, HitCounts, counts
from taxonet.seeds import generator

Pairs = list[tuple[int, int]]
PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 4)), max_size=40)


def counted(pairs: Pairs) -> ConfusionCounts:
    result = ConfusionCounts(5)
    result.update([t for t, _ in pairs], [p for _, p in pairs])
    return result


def dense(result: ConfusionCounts) -> np.ndarray:
    matrix = np.zeros((result.n_classes, result.n_classes), dtype=np.int64)
    pairs = result.pairs()
    matrix[pairs.truth, pairs.predicted] = pairs.images
    return matrix


@given(PAIRS)
def test_counts_equal_a_dense_confusion_matrix(pairs: Pairs) -> None:
    matrix = np.zeros((5, 5), dtype=np.int64)
    unnamed = np.zeros(5, dtype=np.int64)
    for truth, predicted in pairs:
        if predicted < 0:
            unnamed[truth] += 1
        else:
            matrix[truth, predicted] += 1
    result = counted(pairs)
    np.testing.assert_array_equal(dense(result), matrix)
    np.testing.assert_array_equal(result.images, matrix.sum(axis=1) + unnamed)
    np.testing.assert_array_equal(result.predictions, matrix.sum(axis=0))
    np.testing.assert_array_equal(result.hits, matrix.diagonal())


@given(PAIRS, st.integers(0, 40))
def test_neither_batches_nor_order_matter(pairs: Pairs, cut: int) -> None:
    whole = counted(pairs)
    shuffled = list(reversed(pairs))
    parts = ConfusionCounts(5)
    for part in (shuffled[:cut], shuffled[cut:]):
        parts.update([t for t, _ in part], [p for _, p in part])
        parts.pairs()  # looking at the counts must not change them
    np.testing.assert_array_equal(dense(parts), dense(whole))
    np.testing.assert_array_equal(parts.images, whole.images)


def test_sorting_in_along_the_way_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = generator("counts", 0)
    truth, predicted = rng.integers(0, 9, (2, 500))
    at_once = ConfusionCounts(9)
    at_once.update(truth, predicted)
    monkeypatch.setattr(counts, "_SMALLEST_BUFFER", 7)
    streamed = ConfusionCounts(9)
    for start in range(0, 500, 3):
        streamed.update(truth[start : start + 3], predicted[start : start + 3])
    np.testing.assert_array_equal(dense(streamed), dense(at_once))


def test_fifty_thousand_classes_need_no_square_array() -> None:
    n_classes, images = 50_000, 200_000
    rng = generator("many classes", 0)
    truth = rng.integers(0, n_classes, images)
    predicted = np.where(rng.random(images) < 0.7, truth, rng.integers(0, n_classes, images))
    result = ConfusionCounts(n_classes)
    for start in range(0, images, 10_000):
        result.update(truth[start : start + 10_000], predicted[start : start + 10_000])
    pairs = result.pairs()
    assert pairs.images.sum() == images
    assert len(pairs.truth) <= images
    assert result.hits.sum() == np.count_nonzero(truth == predicted)
    last = (pairs.truth == n_classes - 1) & (pairs.predicted == n_classes - 1)
    assert pairs.images[last].sum() == np.count_nonzero((truth == predicted) & (truth == 49_999))


def test_pairs_ascend_and_are_int64() -> None:
    result = ConfusionCounts(3)
    result.update(np.array([2, 0, 1], dtype=np.uint8), np.array([0, 2, 1], dtype=np.int32))
    pairs = result.pairs()
    assert list(zip(*(column.tolist() for column in pairs), strict=True)) == [
        (0, 2, 1),
        (1, 1, 1),
        (2, 0, 1),
    ]
    assert {column.dtype for column in pairs} == {np.dtype(np.int64)}


def test_nothing_counted_is_no_pair() -> None:
    result = ConfusionCounts(2)
    result.update([], [])
    assert [len(column) for column in result.pairs()] == [0, 0, 0]
    assert result.images.tolist() == [0, 0]


def test_hits_that_are_not_equalities() -> None:
    result = HitCounts(2)
    result.update([0, 1, 1], [True, True, False])
    result.update([1], [True])
    assert result.images.tolist() == [1, 3]
    assert result.hits.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        ([0, 3], [0, 0], "true classes from 0 to 2, got 3 in row 1"),
        ([-1], [0], "true classes from 0 to 2, got -1 in row 0"),
        ([0], [-2], "predicted classes from -1 to 2, got -2 in row 0"),
        ([0, 1], [0], "one prediction per true class"),
        ([0.0], [0], "one row of integers, got float64"),
        ([[0]], [[0]], "one row of integers"),
    ],
)
def test_wrong_input_is_refused(truth: list[int], predicted: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        ConfusionCounts(3).update(truth, predicted)


def test_no_class_is_refused() -> None:
    with pytest.raises(DataError, match="at least one class"):
        HitCounts(0)
