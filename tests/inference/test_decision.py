import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import ConfigError, DataError
from taxonet.inference import (
    LikelyNodes,
    NamingCurve,
    calibrate_threshold,
    cut_at_truth,
    deepest_reaching,
    likely_nodes,
    naming_curve,
)
from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy
from tests.inference.decision_tree import A1, A2, B1, B2, TREE, A, B, X, Y


def summed(leaf_probs: dict[int, float], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    probs = torch.zeros(1, 9, dtype=dtype)
    for leaf, prob in leaf_probs.items():
        for node in TREE.ancestors(leaf):
            probs[0, node] += prob
    return probs


def random_probs(images: int, key: int, *, tree: Taxonomy = TREE) -> torch.Tensor:
    rng = generator("decision", key)
    probs = np.zeros((images, tree.size))
    probs[:, tree.leaves] = rng.dirichlet(np.full(len(tree.leaves), 0.2), images).round(2)
    probs[:, tree.leaves[0]] += 1 - probs.sum(axis=1)
    for node in range(tree.size - 1, 0, -1):
        probs[:, tree.parent[node]] += probs[:, node]
    return torch.from_numpy(probs)


def slow_name(probs: torch.Tensor, threshold: float) -> int:
    """Look at every node of one image."""
    reaching = [
        (int(TREE.depth[node]), round(float(prob), 6), -node)
        for node, prob in enumerate(probs.tolist())
        if round(float(prob), 6) >= threshold or node == 0
    ]
    return -max(reaching)[2]


def is_right(named: int, truth: int) -> bool:
    return named in TREE.ancestors(truth)


@pytest.mark.parametrize(
    ("threshold", "named"), [(0.5, X), (0.6, X), (0.61, A1), (0.8, A1), (0.9, A), (0.95, 0)]
)
def test_the_deepest_node_that_reaches_the_threshold(threshold: float, named: int) -> None:
    probs = summed({X: 0.6, Y: 0.2, A2: 0.1, B2: 0.1})
    assert deepest_reaching(TREE, probs, threshold_prob=threshold).tolist() == [named]


@given(st.integers(0, 10**6), st.sampled_from([0.5, 0.51, 0.6, 0.75, 0.9, 0.99, 1.0]))
def test_names_equal_the_loop(key: int, threshold: float) -> None:
    probs = random_probs(6, key)
    expected = [slow_name(row, threshold) for row in probs]
    assert deepest_reaching(TREE, probs, threshold_prob=threshold).tolist() == expected


def test_an_only_child_is_named_for_its_parent() -> None:
    probs = summed({B2: 0.7, X: 0.3})
    assert deepest_reaching(TREE, probs, threshold_prob=0.7).tolist() == [B2]


def test_rounding_neither_hides_an_only_child_nor_certainty() -> None:
    probs = summed({B2: 1.0}, torch.float64)
    probs[0, [0, B, B1, B2]] = torch.tensor([1.0, 1 - 1e-8, 1 - 2e-8, 1 - 3e-8]).double()
    assert deepest_reaching(TREE, probs, threshold_prob=1.0).tolist() == [B2]
    probs[0, [0, B, B1, B2]] = torch.tensor([1 + 1e-7, 0.7, 0.7 - 1e-8, 0.7 - 2e-8]).double()
    assert deepest_reaching(TREE, probs, threshold_prob=0.7).tolist() == [B2]

    probs = summed({A2: 0.49999997, B: 0.50000003})  # float32 rounding of one half each
    assert deepest_reaching(TREE, probs, threshold_prob=0.5).tolist() == [A2]


def test_at_one_half_the_deeper_then_the_more_probable_then_the_lower() -> None:
    assert deepest_reaching(TREE, summed({A2: 0.5, B2: 0.5}), threshold_prob=0.5).tolist() == [B2]
    assert deepest_reaching(TREE, summed({X: 0.5, Y: 0.5}), threshold_prob=0.5).tolist() == [X]
    sigmoids = torch.tensor([[1.0, 0.9, 0.9, 0.6, 0.8, 0.0, 0.1, 0.1, 0.0]])
    assert deepest_reaching(TREE, sigmoids, threshold_prob=0.5).tolist() == [A2]


def test_images_are_decided_alone_and_sparse_equals_dense() -> None:
    probs = random_probs(40, 1)
    together = deepest_reaching(TREE, probs, threshold_prob=0.7)
    alone = [int(deepest_reaching(TREE, row[None], threshold_prob=0.7)[0]) for row in probs]
    assert together.tolist() == alone
    sparse = deepest_reaching(TREE, likely_nodes(probs), threshold_prob=0.7)
    np.testing.assert_array_equal(sparse, together)
    assert together.dtype == np.int64


def test_likely_nodes_are_few_and_of_any_precision() -> None:
    probs = random_probs(50, 2)
    likely = likely_nodes(probs)
    assert len(likely.node) <= 50 * 4  # at 0.5 a second chain may tie
    assert (likely.node > 0).all()
    assert (np.diff(likely.image) >= 0).all()
    single = likely_nodes(probs.float())
    np.testing.assert_array_equal(single.node, likely.node)
    np.testing.assert_allclose(single.prob, likely.prob, atol=1e-6)
    assert likely_nodes(probs[:0]).n_images == 0


@pytest.mark.parametrize("threshold", [0.49, 1.01, float("nan")])
def test_thresholds_outside_are_refused(threshold: float) -> None:
    with pytest.raises(ConfigError, match=r"in \[0.5, 1\]"):
        deepest_reaching(TREE, summed({X: 1.0}), threshold_prob=threshold)


def test_scores_that_are_no_node_probabilities_are_refused() -> None:
    with pytest.raises(DataError, match=r"got 0\.2 in row 1: sum class probabilities"):
        likely_nodes(torch.tensor([[1.0, 0.5], [0.2, 0.8]]))


@given(st.integers(0, 10**6))
def test_the_curve_is_what_naming_at_each_threshold_gives(key: int) -> None:
    probs = random_probs(12, key)
    truth = generator("truth", key).integers(0, TREE.size, 12)
    curve = naming_curve(TREE, likely_nodes(probs), truth)
    observed = sorted({round(float(p), 6) for p in probs[:, 1:].flatten() if p >= 0.5 - 1e-9})
    assert curve.threshold_prob.tolist() == observed[::-1]
    for threshold, named, right in zip(*curve, strict=True):
        names = [slow_name(row, threshold) for row in probs]
        below = [(n, int(t)) for n, t in zip(names, truth, strict=True) if n != 0]
        assert named == len(below)
        assert right == sum(is_right(n, t) for n, t in below)


@given(st.integers(0, 10**6), st.sampled_from([0.3, 0.6, 0.8, 0.95, 1.0]))
def test_the_threshold_is_the_smallest_that_holds(key: int, wanted: float) -> None:
    probs = random_probs(12, key)
    truth = generator("truth", key).integers(0, TREE.size, 12)
    curve = naming_curve(TREE, likely_nodes(probs), truth)

    def holds(threshold: float) -> bool:
        names = deepest_reaching(TREE, probs, threshold_prob=threshold).tolist()
        below = [(n, int(t)) for n, t in zip(names, truth, strict=True) if n != 0]
        return not below or sum(is_right(n, t) for n, t in below) / len(below) >= wanted

    candidates = sorted({0.5, 1.0, *curve.threshold_prob.tolist()})
    good = [t for t in candidates if holds(t)]
    assert calibrate_threshold(curve, accuracy=wanted) == (good[0] if good else None)


def test_all_right_needs_no_more_than_one_half() -> None:
    probs = torch.cat([summed({X: 0.9, Y: 0.1}), summed({B2: 0.6, X: 0.4})])
    curve = naming_curve(TREE, likely_nodes(probs), [X, B2])
    assert calibrate_threshold(curve, accuracy=1.0) == 0.5


def test_a_coarser_truth_makes_a_coarse_name_right_and_a_deep_one_wrong() -> None:
    likely = likely_nodes(summed({X: 0.7, Y: 0.2, B2: 0.1}))  # a and a1 have 0.9
    curve = naming_curve(TREE, likely, [A1])
    assert curve.threshold_prob.tolist() == pytest.approx([0.9, 0.7])
    assert curve.right.tolist() == [1, 0]  # at 0.9 the name is a1, at 0.7 it is x


def test_names_below_a_coarse_truth_are_cut_at_it() -> None:
    """Photos known to a1 only, named to a species of it, do not raise the threshold."""
    likely = likely_nodes(torch.cat([summed({X: 0.9, Y: 0.1}), summed({X: 0.9, B2: 0.1})]))
    cut = cut_at_truth(TREE, likely, [A1, X])
    assert deepest_reaching(TREE, cut, threshold_prob=0.5).tolist() == [A1, X]
    curve = naming_curve(TREE, cut, [A1, X])
    assert curve.right.tolist() == curve.named.tolist()
    beside = cut_at_truth(TREE, likely, [A2, B])
    assert (beside.node == likely.node).all()
    with pytest.raises(DataError, match=r"must lie in 0\.\.8, but row 1 has -1 \(1 such rows\)"):
        cut_at_truth(TREE, likely, [A1, -1])


def test_parts_join_to_the_whole() -> None:
    probs = random_probs(7, 3)
    whole = likely_nodes(probs)
    joined = LikelyNodes.joined([likely_nodes(part) for part in torch.split(probs, 3)])
    assert joined.n_images == 7
    for name in ("image", "node", "prob"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))


def test_certain_errors_leave_no_threshold() -> None:
    curve = naming_curve(TREE, likely_nodes(summed({X: 1.0})), [B2])
    assert calibrate_threshold(curve) is None


def test_where_the_surest_name_is_wrong_only_certainty_may_be_named() -> None:
    curve = naming_curve(TREE, likely_nodes(summed({X: 0.9, B2: 0.1})), [B2])
    assert calibrate_threshold(curve) == 1.0


def test_nothing_observed_holds_everywhere() -> None:
    probs = torch.zeros(2, 9)
    probs[:, 0] = 1
    curve = naming_curve(TREE, likely_nodes(probs), [X, Y])
    assert [len(column) for column in curve] == [0, 0, 0]
    assert calibrate_threshold(curve) == 0.5


def test_wrong_input_is_refused() -> None:
    likely = likely_nodes(summed({X: 1.0}))
    with pytest.raises(DataError, match="each of 1 images"):
        naming_curve(TREE, likely, [X, Y])
    nothing = NamingCurve(np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64))
    for accuracy in (0.0, 1.1):
        with pytest.raises(ConfigError, match=r"in \(0, 1\]"):
            calibrate_threshold(nothing, accuracy=accuracy)


def test_a_large_calibration_set_takes_no_time_per_threshold() -> None:
    # 20,000 images with distinct probabilities: 60,000 thresholds, answered by sorting.
    images = 20_000
    rng = generator("large", 0)
    leaf = rng.uniform(0.5, 1, images)
    probs = torch.zeros(images, 9, dtype=torch.float64)
    probs[:, 0] = 1
    probs[:, X] = torch.from_numpy(leaf)
    probs[:, A1] = torch.from_numpy(leaf + (1 - leaf) * rng.random(images))
    probs[:, A] = (1 + probs[:, A1]) / 2
    truth = np.where(rng.random(images) < leaf, X, Y)
    curve = naming_curve(TREE, likely_nodes(probs), truth)
    threshold = calibrate_threshold(curve, accuracy=0.9)
    assert threshold is not None
    names = deepest_reaching(TREE, probs, threshold_prob=threshold)
    right = (names == A) | (names == A1) | ((names == X) & (truth == X))
    assert right[names > 0].mean() >= 0.9
