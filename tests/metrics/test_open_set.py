import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from taxonet.errors import DataError
from taxonet.metrics import open_set_metrics, oscr, ranking_metrics, threshold_at_tpr
from taxonet.seeds import generator
from tests.reference import metrics as reference

SCORES = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=25)


@given(SCORES, st.integers(1, 100))
def test_threshold_equals_the_definition(known: list[float], percent: int) -> None:
    tpr = percent / 100
    threshold = threshold_at_tpr(known, tpr)
    assert threshold == reference.threshold_at_tpr(known, tpr)
    assert threshold in known
    assert np.mean(np.asarray(known) <= threshold) >= tpr


@pytest.mark.parametrize("n", [7, 20, 100, 1000])
def test_exact_shares_are_not_lost_to_rounding(n: int) -> None:
    for k in range(1, n + 1):
        assert threshold_at_tpr(np.arange(n), k / n) == k - 1


@given(SCORES, SCORES, st.integers(-6, 6))
def test_metrics_equal_loops(known: list[float], unknown: list[float], threshold: int) -> None:
    result = open_set_metrics(known, unknown, threshold=threshold)
    assert result["TPR"] == pytest.approx(sum(s <= threshold for s in known) / len(known))
    assert result["TNR"] == pytest.approx(sum(s > threshold for s in unknown) / len(unknown))
    assert result["ACC"] == pytest.approx((result["TPR"] + result["TNR"]) / 2)
    assert result["AUROC"] == pytest.approx(reference.auroc(known, unknown))
    assert result["AUPR"] == pytest.approx(reference.average_precision(known, unknown))
    own = reference.threshold_at_tpr(known, 0.95)
    assert result["FPR@95"] == pytest.approx(sum(s <= own for s in unknown) / len(unknown))


@given(st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=1, max_size=25), SCORES)
def test_oscr_equals_trapezoids(known: list[tuple[int, bool]], unknown: list[float]) -> None:
    scores, right = [float(s) for s, _ in known], [r for _, r in known]
    value = oscr(scores, unknown, known_right=right)
    assert value == pytest.approx(reference.oscr(scores, right, unknown))
    assert value <= np.mean(right) + 1e-12
    assert oscr(scores, unknown, known_right=[True] * len(scores)) == pytest.approx(
        reference.auroc(scores, unknown)
    )


def test_agrees_with_scikit_learn() -> None:
    rng = generator("open set", 0)
    known = rng.normal(0, 1, 500).round(1)  # rounded: with ties
    unknown = rng.normal(1, 1, 300).round(1)
    positive = np.r_[np.ones(500), np.zeros(300)]
    confidence = -np.r_[known, unknown]
    result = open_set_metrics(known, unknown, threshold=0.0)
    assert result["AUROC"] == pytest.approx(roc_auc_score(positive, confidence), abs=1e-12)
    assert result["AUPR"] == pytest.approx(average_precision_score(positive, confidence), abs=1e-12)


def test_all_ties_say_nothing() -> None:
    result = open_set_metrics([1, 1, 1], [1, 1], threshold=1)
    assert (result["TPR"], result["TNR"], result["ACC"]) == (1.0, 0.0, 0.5)
    assert result["AUROC"] == 0.5
    assert result["AUPR"] == pytest.approx(3 / 5)
    assert result["FPR@95"] == 1.0


def test_perfect_separation() -> None:
    result = open_set_metrics([1, 2], [3, 4], threshold=2)
    perfect = {"TPR": 1.0, "TNR": 1.0, "ACC": 1.0, "AUROC": 1.0, "AUPR": 1.0, "FPR@95": 0.0}
    assert result == perfect
    assert list(result) == list(perfect)
    ranking = ranking_metrics([1, 2], [3, 4])
    assert ranking == {name: perfect[name] for name in ("AUROC", "AUPR", "FPR@95")}


def test_any_increasing_transform_keeps_the_ranking_metrics() -> None:
    rng = generator("monotone", 0)
    known, unknown = rng.normal(0, 1, 60), rng.normal(0.5, 1, 40)
    plain = open_set_metrics(known, unknown, threshold=0.3)
    bent = open_set_metrics(np.exp(known), np.exp(unknown), threshold=float(np.exp(0.3)))
    assert bent == plain


def test_swapping_the_sides_mirrors_the_auroc() -> None:
    rng = generator("swap", 0)
    known, unknown = rng.normal(0, 1, 60), rng.normal(0.5, 1, 40)
    there = open_set_metrics(known, unknown, threshold=0)
    back = open_set_metrics(unknown, known, threshold=0)
    assert there["AUROC"] + back["AUROC"] == pytest.approx(1)


def test_float32_and_many_scores_stay_exact() -> None:
    known = np.arange(300_000, dtype=np.float32)
    result = open_set_metrics(known, known, threshold=float(threshold_at_tpr(known)))
    assert result["AUROC"] == 0.5
    assert result["TPR"] == 0.95


@pytest.mark.parametrize(
    ("known", "unknown", "message"),
    [
        ([], [1.0], "at least one known image"),
        ([1.0], [], "at least one unknown image"),
        ([1.0, np.nan], [1.0], "known image 1 is NaN"),
        ([[1.0]], [1.0], r"shape \(1, 1\)"),
    ],
)
def test_wrong_input_is_refused(known: list[float], unknown: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_set_metrics(known, unknown, threshold=0)


@pytest.mark.parametrize("tpr", [0.0, -0.1, 1.01])
def test_impossible_rates_are_refused(tpr: float) -> None:
    with pytest.raises(DataError, match=r"in \(0, 1\]"):
        threshold_at_tpr([1.0], tpr)


def test_oscr_lengths_must_fit() -> None:
    with pytest.raises(DataError, match="known_right"):
        oscr([1.0, 2.0], [3.0], known_right=[True])
