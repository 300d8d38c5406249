import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import DataError
from taxonet.metrics import ReliabilityCounts, expected_calibration_error, reliability_curve
from taxonet.seeds import generator
from tests.reference import metrics as reference

# Multiples of 1/16 and powers of two as bins keep the edges exact.
PREDICTIONS = st.lists(
    st.tuples(st.integers(0, 16).map(lambda n: n / 16), st.booleans()), min_size=1, max_size=40
)


@given(PREDICTIONS, st.sampled_from([1, 2, 4, 8]))
def test_ece_equals_the_loop(predictions: list[tuple[float, bool]], bins: int) -> None:
    probs, right = [p for p, _ in predictions], [r for _, r in predictions]
    curve = reliability_curve(probs, right, bins=bins)
    assert curve.images.sum() == len(probs)
    expected = reference.expected_calibration_error(probs, right, bins)
    assert expected_calibration_error(curve) == pytest.approx(expected, abs=1e-12)


@given(PREDICTIONS, st.lists(st.integers(0, 40), max_size=3), st.sampled_from([1, 2, 4, 8]))
def test_batches_and_merged_counts_equal_the_loop(
    predictions: list[tuple[float, bool]], cuts: list[int], bins: int
) -> None:
    probs, right = [p for p, _ in predictions], [r for _, r in predictions]
    counts, others = ReliabilityCounts(bins=bins), ReliabilityCounts(bins=bins)
    for start, end in pairwise([0, *sorted(cuts), len(probs)]):
        counts.update(probs[start:end], right[start:end])
    others.merge(counts)
    expected = reference.reliability_bins(probs, right, bins)
    for curve in (counts.compute(), others.compute(), reliability_curve(probs, right, bins=bins)):
        found = zip(curve.images, curve.mean_prob, curve.accuracy, strict=True)
        for (images, mean_prob, accuracy), wanted in zip(found, expected, strict=True):
            assert (images, mean_prob, accuracy) == pytest.approx(wanted, abs=1e-12, nan_ok=True)


def test_a_bin_by_hand() -> None:
    """Two images in the upper bin, 0.6 and 1.0, one of them right."""
    counts = ReliabilityCounts(bins=2)
    counts.update([0.6], [True])
    counts.update([1.0], [False])
    curve = counts.compute()
    assert curve.images.tolist() == [0, 2]
    assert (curve.mean_prob[1], curve.accuracy[1]) == (0.8, 0.5)
    assert expected_calibration_error(curve) == pytest.approx(0.3)


def test_a_curve_stays_as_it_was_when_more_is_counted() -> None:
    counts = ReliabilityCounts(bins=1)
    counts.update([0.5], [True])
    curve = counts.compute()
    counts.update([0.5], [False])
    assert (curve.images.tolist(), curve.accuracy.tolist()) == ([1], [1.0])


def test_a_refused_batch_leaves_the_counts_as_they_were() -> None:
    counts = ReliabilityCounts(bins=4)
    counts.update([0.5], [True])
    with pytest.raises(DataError, match=r"in \[0, 1\]"):
        counts.update([0.5, 1.1], [True, True])
    assert counts.compute().images.tolist() == [0, 1, 0, 0]


def test_counts_of_other_bins_do_not_merge() -> None:
    with pytest.raises(DataError, match="Counts of 4 and of 5 bins"):
        ReliabilityCounts(bins=4).merge(ReliabilityCounts(bins=5))


def test_agrees_with_torchmetrics() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its imports are not ours to mend
        from torchmetrics.functional.classification import binary_calibration_error
    rng = generator("ece", 0)
    probs = rng.uniform(0.01, 0.99, 500)
    right = rng.random(500) < probs**2
    theirs = binary_calibration_error(
        torch.from_numpy(probs), torch.from_numpy(right).long(), n_bins=15, norm="l1"
    )
    ours = expected_calibration_error(reliability_curve(probs, right, bins=15))
    # For binary input they compare P(positive) with the positives, which is our "right".
    assert ours == pytest.approx(float(theirs), abs=1e-6)


def test_edges_belong_to_the_lower_bin() -> None:
    curve = reliability_curve([0.0, 0.25, 0.5, 0.75, 1.0], [True] * 5, bins=4)
    assert curve.images.tolist() == [2, 1, 1, 1]


def test_honest_and_dishonest_probabilities() -> None:
    honest = reliability_curve([0.75] * 4, [True, True, True, False])
    assert expected_calibration_error(honest) == pytest.approx(0)
    wrong = reliability_curve([1.0] * 4, [False] * 4)
    assert expected_calibration_error(wrong) == 1.0


def test_empty_bins_are_nan_and_weigh_nothing() -> None:
    curve = reliability_curve([0.9, 1.0], [True, False], bins=2)
    assert np.isnan(curve.accuracy[0])
    assert np.isnan(curve.mean_prob[0])
    assert curve.accuracy[1] == 0.5
    assert expected_calibration_error(curve) == pytest.approx(0.45)


def test_no_images_have_no_error() -> None:
    assert expected_calibration_error(reliability_curve([], [])) is None


def test_order_does_not_matter() -> None:
    rng = generator("order", 0)
    probs, right = rng.random(50), rng.random(50) < 0.5
    permutation = rng.permutation(50)
    one = expected_calibration_error(reliability_curve(probs, right))
    other = expected_calibration_error(reliability_curve(probs[permutation], right[permutation]))
    assert one == pytest.approx(other)


def test_float32_gives_float64() -> None:
    curve = reliability_curve(np.array([0.5], dtype=np.float32), [1])
    assert curve.mean_prob.dtype == np.float64
    assert curve.images.dtype == np.int64


@pytest.mark.parametrize(
    ("probs", "right", "bins", "message"),
    [
        ([1.5], [True], 5, r"in \[0, 1\]"),
        ([np.nan], [True], 5, r"in \[0, 1\]"),
        ([0.5], [True, False], 5, "two rows of one length"),
        ([0.5], [True], 0, "at least one bin"),
    ],
)
def test_wrong_input_is_refused(
    probs: list[float], right: list[bool], bins: int, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        reliability_curve(probs, right, bins=bins)
