import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import DataError
from taxonet.metrics import class_margins, score_margins
from taxonet.seeds import generator
from tests.reference.geometry import class_margin

rows = st.lists(st.integers(-9, 9), min_size=3, max_size=3)


@given(st.lists(st.tuples(rows, st.integers(0, 2)), min_size=1, max_size=15))
def test_margins_equal_the_loop(images: list[tuple[list[int], int]]) -> None:
    scores, targets = [row for row, _ in images], [target for _, target in images]
    expected = [class_margin(scores, targets, k) for k in range(3)]
    np.testing.assert_allclose(class_margins(scores, targets), expected)


def test_margins_by_hand() -> None:
    scores = [[0.9, 0.5, -1.0], [0.2, 0.8, 0.7], [0.0, 0.0, 0.0]]
    np.testing.assert_allclose(score_margins(scores, [0, 2, 1]), [0.4, -0.1, 0.0])
    np.testing.assert_allclose(class_margins(scores, [0, 0, 1]), [-0.1, 0.0, np.nan])


def test_above_zero_is_right() -> None:
    rng = generator("scores", 0)
    scores, targets = rng.normal(size=(200, 7)), rng.integers(0, 7, 200)
    right = scores.argmax(axis=1) == targets
    assert 0 < right.sum() < 200
    np.testing.assert_array_equal(score_margins(scores, targets) > 0, right)


def test_permuting_and_moving_scores() -> None:
    rng = generator("scores", 1)
    scores, targets, order = rng.normal(size=(40, 5)), rng.integers(0, 5, 40), rng.permutation(5)
    margins = class_margins(scores, targets)
    np.testing.assert_allclose(class_margins(scores + 3, targets), margins)
    np.testing.assert_allclose(class_margins(scores[::-1], targets[::-1]), margins)
    # Column k now holds class order[k].
    np.testing.assert_allclose(
        class_margins(scores[:, order], np.argsort(order)[targets]), margins[order]
    )


def test_the_scores_are_not_changed() -> None:
    scores = np.array([[1.0, 2.0]])
    score_margins(scores, [0])
    assert scores.tolist() == [[1.0, 2.0]]


def test_half_precision_does_not_overflow() -> None:
    assert score_margins(np.array([[6e4, -6e4]], dtype=np.float16), [0])[0] > 1.19e5


def test_wrong_input_is_refused() -> None:
    with pytest.raises(DataError, match="at least 2 classes, got one"):
        score_margins([[1.0]], [0])
    with pytest.raises(DataError, match=r"got \(1, 2\) and \(2,\)"):
        score_margins([[1.0, 2.0]], [0, 1])
    with pytest.raises(DataError, match="targets from 0 to 1, got 2"):
        score_margins([[1.0, 2.0]], [2])
    with pytest.raises(DataError, match="finite scores"):
        score_margins([[1.0, np.nan]], [0])
