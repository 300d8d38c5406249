from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from taxonet.errors import DataError
from taxonet.metrics import RiskCoverageCurve, node_coverage
from taxonet.seeds import generator
from taxonet.taxonomy.shape import TreeShape
from tests.metrics.test_hierarchical import summed_up
from tests.reference import decisions as reference

TWO_GENERA = TreeShape(np.array([-1, 0, 0, 1, 1, 2, 2], dtype=np.int32))
RAGGED = TreeShape(np.array([-1, 0, 0, 0, 1, 1, 2, 4, 4], dtype=np.int32))  # 2 has one child


def judged(
    tree: TreeShape, n: int, key: int, *, sums: bool = True
) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.float64]], list[int]]:
    rng = generator("risk and coverage", key)
    leaves = rng.multinomial(8, rng.dirichlet(np.full(len(tree.leaves), 0.5), n)) / 8
    probs = summed_up(tree, leaves)
    if not sums:  # confidences of any kind, with ties
        probs[:, 1:] = rng.integers(0, 5, (n, tree.size - 1)) / 4
    return probs, rng.integers(0, tree.size, n).tolist()


@settings(deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([TWO_GENERA, RAGGED]), st.booleans())
def test_the_curve_equals_the_loop(key: int, tree: TreeShape, sums: bool) -> None:
    probs, truth = judged(tree, 7, key, sums=sums)
    curve = RiskCoverageCurve(tree)
    curve.update(probs, truth)
    points = curve.compute()
    slow = reference.risk_and_coverage(tree.parent.tolist(), probs.tolist(), truth)
    area = sum((b[0] + a[0]) / 2 * (b[1] - a[1]) for a, b in pairwise(slow))
    found = np.column_stack([points.risk, points.coverage])
    for pair in slow:  # thresholds at which nothing changes are no points of ours
        assert np.isclose(found, pair, atol=1e-12).all(axis=1).any()
    for pair in found:
        assert np.isclose(slow, pair, atol=1e-12).all(axis=1).any()
    if sums:
        assert points.area == pytest.approx(area, abs=1e-12)


def test_batches_and_merged_parts_make_one_curve() -> None:
    probs, truth = judged(RAGGED, 50, 1)
    whole, first, second = (RiskCoverageCurve(RAGGED) for _ in range(3))
    whole.update(torch.from_numpy(probs), torch.tensor(truth))
    first.update(probs[:20], truth[:20])
    second.update(probs[20:30], truth[20:30])
    second.update(probs[30:], truth[30:])
    first.merge(second)
    assert first.images == 50
    joined, expected = first.compute(), whole.compute()
    np.testing.assert_array_equal(joined.threshold, expected.threshold)
    np.testing.assert_allclose(joined.risk, expected.risk, atol=1e-12)
    np.testing.assert_allclose(joined.coverage, expected.coverage, atol=1e-12)
    assert joined.area == pytest.approx(expected.area, abs=1e-12)


def test_names_that_are_always_right_or_always_wrong() -> None:
    sure = summed_up(TWO_GENERA, np.array([[1.0, 0, 0, 0]]))
    right, wrong, leaf_only = (RiskCoverageCurve(TWO_GENERA) for _ in range(3))
    right.update(sure, [3])
    assert right.compute().area == 0
    wrong.update(sure, [5])
    assert wrong.compute().area == 0.5  # one step from (0, 0) to (1, 1)
    leaf_only.update(sure, [4])
    assert leaf_only.compute().risk.tolist() == [0, 1]
    coarse = RiskCoverageCurve(TWO_GENERA)
    coarse.update(sure, [1])  # a species of the true genus is cut at it
    assert coarse.compute().coverage.tolist() == [0.0, 0.5]


def test_coverage_is_one_minus_the_share_of_the_entropy() -> None:
    tree = TreeShape(np.array([-1, 0, 0, 1, 1, 1], dtype=np.int32))  # 4 leaves, 3 below node 1
    expected = [0, 1 - np.log(3) / np.log(4), 1, 1, 1, 1]
    np.testing.assert_allclose(node_coverage(tree), expected, atol=1e-15)


def test_wrong_input_is_refused() -> None:
    curve = RiskCoverageCurve(TWO_GENERA)
    with pytest.raises(DataError, match="no images"):
        curve.compute()
    with pytest.raises(DataError, match=r"\(B, 7\)"):
        curve.update([[1.0, 0.5]], [1])
    with pytest.raises(DataError, match="for 1 images, got 2"):
        curve.update(np.ones((1, 7)), [1, 2])
    with pytest.raises(DataError, match="another tree"):
        curve.merge(RiskCoverageCurve(RAGGED))
    with pytest.raises(DataError, match="at least 2 leaves"):
        RiskCoverageCurve(TreeShape(np.array([-1, 0], dtype=np.int32)))
