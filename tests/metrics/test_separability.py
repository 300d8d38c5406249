import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from taxonet.errors import DataError
from taxonet.metrics import fisher_separability
from taxonet.seeds import generator
from tests.reference.geometry import separability

IntArray = NDArray[np.int64]


def clusters(counts: list[int], features: int) -> tuple[NDArray[np.float64], IntArray]:
    rng = generator("clusters", features, *counts)
    targets = np.repeat(np.arange(len(counts)), counts)
    mixing = rng.normal(size=(features, features))
    means = 3 * rng.normal(size=(len(counts), features))
    return means[targets] + rng.normal(size=(len(targets), features)) @ mixing, targets


@pytest.mark.parametrize("shrinkage", [0.0, 0.01, 0.5, 1.0])
@pytest.mark.parametrize("counts", [[30, 12, 8, 0, 1], [7, 7]])
def test_equals_the_loop(counts: list[int], shrinkage: float) -> None:
    embeddings, targets = clusters(counts, 4)
    found = fisher_separability(embeddings, targets, n_classes=len(counts), shrinkage=shrinkage)
    expected = separability(embeddings, targets.tolist(), len(counts), shrinkage)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("shrinkage", [0.01, 0.3])
def test_equals_the_loop_with_fewer_images_than_features(shrinkage: float) -> None:
    embeddings, targets = clusters([4, 2, 3, 9], 20)
    found = fisher_separability(embeddings, targets, n_classes=4, shrinkage=shrinkage)
    expected = separability(embeddings, targets.tolist(), 4, shrinkage)
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_by_hand() -> None:
    # Variances 2 and 8, means 0 and 5: 25 / 10. The third class, mean 20 and variance 2,
    # gives 400 / 4 and 225 / 10.
    line = np.array([[-1.0], [1.0], [3.0], [7.0], [19.0], [21.0]])
    found = fisher_separability(line, [0, 0, 1, 1, 2, 2], n_classes=3)
    np.testing.assert_allclose(found, [(2.5 + 100) / 2, (2.5 + 22.5) / 2, (100 + 22.5) / 2])


def test_shrinkage_by_hand() -> None:
    # Both covariances are diag(1, 0), the sum is diag(2, 0), of mean variance 1; the difference
    # is (0, 1), along which no image varies: J = 1 / (a * 1).
    half = np.sqrt(0.5)
    square = [[-half, 0.0], [half, 0.0], [-half, 1.0], [half, 1.0]]
    found = fisher_separability(square, [0, 0, 1, 1], n_classes=2, shrinkage=0.25)
    np.testing.assert_allclose(found, [4.0, 4.0])
    assert fisher_separability(square, [0, 0, 1, 1], n_classes=2, shrinkage=0).tolist() == [
        np.inf,
        np.inf,
    ]


def test_no_projection_is_better_and_that_of_scikit_learn_is_as_good() -> None:
    embeddings, targets = clusters([40, 40], 3)
    one, other = embeddings[:40], embeddings[40:]

    def along(direction: NDArray[np.float64]) -> float:
        a, b = one @ direction, other @ direction
        return float((a.mean() - b.mean()) ** 2 / (a.var(ddof=1) + b.var(ddof=1)))

    best = fisher_separability(embeddings, targets, n_classes=2, shrinkage=0)[0]
    model = LinearDiscriminantAnalysis(solver="eigen").fit(embeddings, targets)
    assert along(model.coef_[0]) == pytest.approx(best)
    tried = generator("directions", 0).normal(size=(500, 3))
    assert max(along(direction) for direction in tried) <= best


def test_turning_moving_and_scaling_change_nothing() -> None:
    embeddings, targets = clusters([9, 3, 5], 6)
    before = fisher_separability(embeddings, targets, n_classes=3)
    turn = np.linalg.qr(generator("turn", 0).normal(size=(6, 6)))[0]
    after = fisher_separability(7 * embeddings @ turn + 100, targets, n_classes=3)
    np.testing.assert_allclose(after, before, rtol=1e-8)


def test_permuting_images_and_classes() -> None:
    embeddings, targets = clusters([9, 3, 5, 1], 4)
    before = fisher_separability(embeddings, targets, n_classes=4)
    rng = generator("permutation", 0)
    order, renamed = rng.permutation(len(targets)), rng.permutation(4)
    after = fisher_separability(embeddings[order], renamed[targets[order]], n_classes=4)
    np.testing.assert_allclose(after[renamed], before, rtol=1e-9)


def test_one_image_classes_are_left_out() -> None:
    embeddings, targets = clusters([9, 5, 1, 0], 4)
    found = fisher_separability(embeddings, targets, n_classes=4)
    np.testing.assert_array_equal(np.isnan(found), [False, False, True, True])
    kept = targets < 2
    alone = fisher_separability(embeddings[kept], targets[kept], n_classes=2)
    np.testing.assert_allclose(found[:2], alone)


def test_nothing_to_compare_is_nan() -> None:
    assert np.isnan(fisher_separability([[0.0], [1.0], [2.0]], [0, 0, 1], n_classes=2)).all()
    assert np.isnan(fisher_separability(np.empty((0, 2)), [], n_classes=2)).all()


def test_images_on_two_points() -> None:
    points = [[0.0, 1.0], [0.0, 1.0], [2.0, 0.0], [2.0, 0.0]]
    assert fisher_separability(points, [0, 0, 1, 1], n_classes=2).tolist() == [np.inf, np.inf]
    assert fisher_separability(points[:2] * 2, [0, 0, 1, 1], n_classes=2).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_half_precision_is_computed_in_float64(dtype: type) -> None:
    embeddings, targets = clusters([30, 30], 4)
    low: NDArray[np.floating] = (1000 * embeddings).astype(dtype)  # squares are beyond float16
    found = fisher_separability(low, targets, n_classes=2)
    wide = fisher_separability(low.astype(np.float64), targets, n_classes=2)
    np.testing.assert_array_equal(found, wide)
    assert np.isfinite(found).all()


def test_wrong_input_is_refused() -> None:
    with pytest.raises(DataError, match=r"got \(2, 1\) and \(1,\)"):
        fisher_separability([[0.0], [1.0]], [0], n_classes=1)
    with pytest.raises(DataError, match="targets from 0 to 0, got 1"):
        fisher_separability([[0.0], [1.0]], [0, 1], n_classes=1)
    with pytest.raises(DataError, match=r"shrinkage in \[0, 1\], got 1.5"):
        fisher_separability([[0.0], [1.0]], [0, 1], n_classes=2, shrinkage=1.5)
    with pytest.raises(DataError, match="finite embeddings"):
        fisher_separability([[np.inf], [1.0]], [0, 1], n_classes=2)
