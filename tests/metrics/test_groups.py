import numpy as np
import pytest

from taxonet.errors import DataError
from taxonet.metrics import class_means, mean_by_group
from taxonet.seeds import generator


def test_class_means_equal_the_loop() -> None:
    rng = generator("values", 0)
    values, targets = rng.normal(size=60), rng.integers(0, 6, 60)
    values[::7] = np.nan
    means = class_means(values, targets, n_classes=7)
    for k in range(6):
        mine = [v for v, t in zip(values, targets, strict=True) if t == k and not np.isnan(v)]
        assert means[k] == pytest.approx(sum(mine) / len(mine))
    assert np.isnan(means[6])
    order = rng.permutation(60)
    np.testing.assert_allclose(class_means(values[order], targets[order], n_classes=7), means)


def test_images_without_the_figure_are_left_out() -> None:
    found = class_means([1.0, np.nan, np.nan], [0, 0, 1], n_classes=2)
    np.testing.assert_array_equal(found, [1.0, np.nan])


def test_group_means_by_hand() -> None:
    found = mean_by_group([1.0, 4.0, 7.0, np.nan], ["a", "b", "a", "b"], order=["b", "a", "c"])
    assert list(found.items()) == [("b", 4.0), ("a", 4.0), ("c", None)]
    assert mean_by_group([np.nan], ["a"], order=["a"]) == {"a": None}
    assert mean_by_group([], [], order=["a"]) == {"a": None}


def test_wrong_input_is_refused() -> None:
    with pytest.raises(DataError, match=r"two rows of one length, got \(2,\) and \(1,\)"):
        class_means([1.0, 2.0], [0], n_classes=1)
    with pytest.raises(DataError, match="targets from 0 to 0, got 1"):
        class_means([1.0], [1], n_classes=1)
    with pytest.raises(DataError, match=r"one row, got shape \(1, 1\)"):
        mean_by_group([[1.0]], ["a"], order=["a"])
    with pytest.raises(DataError, match="one group for each of 2 values, got 1"):
        mean_by_group([1.0, 2.0], ["a"], order=["a"])
    with pytest.raises(DataError, match=r"among \['a'\], got also \['b'\]"):
        mean_by_group([1.0], ["b"], order=["a"])
