import numpy as np
import pytest

from taxonet.errors import DataError
from taxonet.metrics import ConfusedPair, ConfusionCounts, most_confused
from taxonet.seeds import generator


def test_hand_figures_inside_and_across() -> None:
    counts = ConfusionCounts(4)
    counts.update([0] * 4 + [1] * 2 + [2] * 4 + [3], [1, 1, 2, 0, 0, 1, 0, 0, 0, 2, 3])
    found = most_confused(counts, k=2, genus_of=[5, 5, 9, -1])
    assert found.inside == (ConfusedPair(0, 1, 2, 0.5), ConfusedPair(1, 0, 1, 0.5))
    assert found.across == (ConfusedPair(2, 0, 3, 0.75), ConfusedPair(0, 2, 1, 0.25))


def test_classes_without_a_genus_share_none() -> None:
    counts = ConfusionCounts(2)
    counts.update([0], [1])
    found = most_confused(counts, k=1, genus_of=[-1, -1])
    assert found.inside == ()
    assert found.across == (ConfusedPair(0, 1, 1, 1.0),)


def test_ties_go_to_the_lower_classes() -> None:
    counts = ConfusionCounts(3)
    counts.update([2, 1, 0, 0], [1, 0, 2, 1])
    pairs = most_confused(counts, k=9, genus_of=[0, 0, 0]).inside
    assert [(pair.truth, pair.predicted) for pair in pairs] == [(0, 1), (0, 2), (1, 0), (2, 1)]


def test_all_right_leaves_no_pair() -> None:
    counts = ConfusionCounts(3)
    counts.update([0, 1, 2], [0, 1, 2])
    found = most_confused(counts, k=3, genus_of=[0, 0, 1])
    assert (found.inside, found.across) == ((), ())


def test_agrees_with_a_dense_matrix() -> None:
    rng = generator("confused", 0)
    truth, predicted = rng.integers(0, 12, (2, 300))
    genus = rng.integers(0, 3, 12)
    matrix = np.zeros((12, 12), dtype=int)
    np.add.at(matrix, (truth, predicted), 1)
    counts = ConfusionCounts(12)
    counts.update(truth, predicted)
    found = most_confused(counts, k=5, genus_of=genus)
    for pairs, inside in ((found.inside, True), (found.across, False)):
        every = [
            (-matrix[t, p], t, p)
            for t in range(12)
            for p in range(12)
            if t != p and matrix[t, p] and (genus[t] == genus[p]) == inside
        ]
        expected = [(t, p, -negative) for negative, t, p in sorted(every)[:5]]
        assert [(pair.truth, pair.predicted, pair.images) for pair in pairs] == expected


def test_wrong_input_is_refused() -> None:
    counts = ConfusionCounts(3)
    with pytest.raises(DataError, match="one genus for each of 3 classes"):
        most_confused(counts, k=1, genus_of=[0, 1])
    with pytest.raises(DataError, match="at least 1, got 0"):
        most_confused(counts, k=0, genus_of=[0, 1, 1])
