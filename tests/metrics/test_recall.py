import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support

from taxonet.errors import DataError
from taxonet.metrics import (
    ConfusionCounts,
    HitCounts,
    accuracy,
    class_f1,
    class_precision,
    class_recall,
    macro_recall,
    recall_by_group,
    summarise_recall,
    top_k_hits,
)
from taxonet.seeds import generator
from tests.reference.metrics import f1_of, macro, precision_of, recall_of

CLASSES = 5


def counted(truth: list[int], predicted: list[int], n_classes: int = CLASSES) -> ConfusionCounts:
    counts = ConfusionCounts(n_classes)
    counts.update(truth, predicted)
    return counts


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=40))
def test_summary_equals_loops(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = [t for t, _ in pairs], [p for _, p in pairs]
    summary = summarise_recall(counted(truth, predicted))
    tested = sorted(set(truth))
    assert (summary.images, summary.classes) == (len(pairs), len(tested))
    assert summary.empty_classes == CLASSES - len(tested)
    assert summary.macro_recall == pytest.approx(
        macro([recall_of(truth, predicted, k) for k in range(CLASSES)])
    )
    assert summary.macro_precision == pytest.approx(
        macro([precision_of(truth, predicted, k) for k in tested])
    )
    assert summary.macro_f1 == pytest.approx(macro([f1_of(truth, predicted, k) for k in tested]))


def test_agrees_with_scikit_learn() -> None:
    rng = generator("sklearn", 0)
    truth = rng.integers(0, 30, 400)
    predicted = np.where(rng.random(400) < 0.6, truth, rng.integers(0, 30, 400))
    counts = counted(truth.tolist(), predicted.tolist(), 30)
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=np.arange(30), zero_division=0
    )
    assert support.min() > 0
    np.testing.assert_allclose(class_recall(counts), recall, rtol=1e-12)
    np.testing.assert_allclose(class_precision(counts), precision, rtol=1e-12)
    np.testing.assert_allclose(class_f1(counts), f1, rtol=1e-12)


def test_hand_figures() -> None:
    # Three images of class 0 (two right), one of class 1 (taken for 0), none of class 2.
    counts = counted([0, 0, 0, 1], [0, 0, 2, 0], 3)
    summary = summarise_recall(counts)
    assert summary.rank1 == 0.5
    assert summary.macro_recall == pytest.approx((2 / 3 + 0) / 2)
    assert summary.macro_precision == pytest.approx((2 / 3 + 0) / 2)  # class 1: never predicted
    assert summary.macro_f1 == pytest.approx((2 / 3 + 0) / 2)
    assert summary.empty_classes == 1
    np.testing.assert_array_equal(class_recall(counts), [2 / 3, 0, np.nan])


def test_perfect_predictions_are_all_ones() -> None:
    summary = summarise_recall(counted([0, 1, 1, 4], [0, 1, 1, 4]))
    figures = (summary.rank1, summary.macro_recall, summary.macro_precision, summary.macro_f1)
    assert figures == (1.0, 1.0, 1.0, 1.0)


def test_a_single_class() -> None:
    summary = summarise_recall(counted([0, 0], [0, 0], 1))
    assert (summary.rank1, summary.macro_recall, summary.classes) == (1.0, 1.0, 1)


def test_predictions_of_no_class_are_misses_of_recall_alone() -> None:
    counts = counted([0, 0, 1], [0, -1, 1], 2)
    assert class_recall(counts).tolist() == [0.5, 1.0]
    assert class_precision(counts).tolist() == [1.0, 1.0]


def test_renaming_classes_changes_no_average() -> None:
    rng = generator("permute", 0)
    truth, predicted = rng.integers(0, CLASSES, (2, 60))
    permutation = rng.permutation(CLASSES)
    before = summarise_recall(counted(truth.tolist(), predicted.tolist()))
    after = summarise_recall(counted(permutation[truth].tolist(), permutation[predicted].tolist()))
    assert after.macro_f1 == pytest.approx(before.macro_f1)
    assert after.macro_recall == pytest.approx(before.macro_recall)
    assert after.rank1 == before.rank1


def test_nothing_to_average_is_none() -> None:
    nothing = ConfusionCounts(3)
    summary = summarise_recall(nothing)
    assert summary.rank1 is None
    assert summary.macro_recall is None
    assert summary.macro_precision is None
    assert summary.macro_f1 is None
    assert (summary.classes, summary.empty_classes) == (0, 3)
    assert accuracy(nothing) is None
    assert macro_recall(nothing) is None


def test_groups_partition_the_images() -> None:
    counts = counted([0, 0, 1, 2, 2, 4], [0, 1, 1, 0, 2, 0])
    groups = recall_by_group(
        counts, ["head", "head", "tail", "tail", "tail"], order=["head", "between", "tail"]
    )
    assert list(groups) == ["head", "between", "tail"]
    assert groups["head"].macro_recall == pytest.approx((0.5 + 1) / 2)
    assert groups["tail"].macro_recall == pytest.approx((0.5 + 0) / 2)
    assert groups["tail"].rank1 == pytest.approx(1 / 3)
    # Class 0 is predicted for images of the tail too; those predictions count against it.
    assert groups["head"].macro_precision == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert groups["between"].macro_recall is None
    assert groups["between"].classes == groups["between"].empty_classes == 0
    assert sum(group.images for group in groups.values()) == 6


def test_groups_must_fit() -> None:
    counts = counted([0], [0], 2)
    with pytest.raises(DataError, match="each of 2 classes, got 1"):
        recall_by_group(counts, ["head"], order=["head"])
    with pytest.raises(DataError, match=r"among \['head'\], got also \['tail'\]"):
        recall_by_group(counts, ["head", "tail"], order=["head"])


def test_top_k_hits_feed_the_same_averages() -> None:
    ranked = np.array([[3, 1, 0], [2, 0, 1], [0, 1, 2], [4, 3, 2]])
    hits = top_k_hits(ranked, [0, 3, 2, 4])
    assert hits.tolist() == [True, False, True, True]
    tally = HitCounts(CLASSES)
    tally.update([0, 3, 2, 4], hits)
    assert accuracy(tally) == 0.75
    assert macro_recall(tally) == 0.75
    assert top_k_hits(ranked[:, :1], [0, 2, 0, 4]).tolist() == [False, True, True, True]


def test_top_k_shapes_must_fit() -> None:
    with pytest.raises(DataError, match=r"\(B, k\)"):
        top_k_hits([1, 2], [1, 2])
