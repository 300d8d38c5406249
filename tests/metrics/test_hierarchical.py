from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from taxonet.errors import DataError
from taxonet.metrics import (
    NodeValue,
    OperatingCurve,
    OperatingPoints,
    bootstrap_interval,
    hierarchical_agreement,
    hierarchical_metrics,
)
from taxonet.metrics.bootstrap import image_weights
from taxonet.metrics.pareto import ParetoFinder
from taxonet.metrics.staircase import staircase_area
from taxonet.seeds import generator
from taxonet.taxonomy.shape import TreeShape
from tests.reference import hierarchical_metrics as reference

FloatArray = NDArray[np.float64]
NAMES = ["AP", "AC", "R@90", "R@95", "M-F1", "L-F1", "L-Top1"]
TWO_GENERA = TreeShape(np.array([-1, 0, 0, 1, 1, 2, 2], dtype=np.int32))
KINDS: tuple[NodeValue, ...] = ("information", "depth")


class Judged(NamedTuple):
    """A test set."""

    tree: TreeShape
    probs: FloatArray
    truth: list[int]


@st.composite
def trees(draw: st.DrawFn) -> TreeShape:
    """Any tree of up to 12 nodes: one node, chains, ragged leaves."""
    parent = [-1]
    for node in range(1, draw(st.integers(1, 12))):
        parent.append(draw(st.integers(max(0, parent[-1]), node - 1)))
    return TreeShape(np.array(parent, dtype=np.int32))


def summed_up(tree: TreeShape, leaf_probs: NDArray[Any]) -> FloatArray:
    probs = np.zeros((len(leaf_probs), tree.size))
    probs[:, tree.leaves] = leaf_probs
    for node in range(tree.size - 1, 0, -1):
        probs[:, tree.parent[node]] += probs[:, node]
    return probs


@st.composite
def image_sets(draw: st.DrawFn) -> Judged:
    """Images of any scores, or of probabilities that sum up; ties and zeros are frequent."""
    tree = draw(trees())
    images = draw(st.integers(1, 8))
    eighths = st.integers(0, 8)
    if draw(st.booleans()):
        row = st.lists(eighths, min_size=tree.size, max_size=tree.size)
        probs = np.array(draw(st.lists(row, min_size=images, max_size=images))) / 8
    else:
        row = st.lists(eighths, min_size=len(tree.leaves), max_size=len(tree.leaves))
        weights = np.array(draw(st.lists(row, min_size=images, max_size=images))).astype(float)
        weights[weights.sum(axis=1) == 0] = 1
        probs = np.minimum(summed_up(tree, weights / weights.sum(axis=1, keepdims=True)), 1)
    nodes = st.integers(0, tree.size - 1)
    return Judged(tree, probs, draw(st.lists(nodes, min_size=images, max_size=images)))


MIN_CONFIDENCES = st.sampled_from([None, 0.0, 0.1, 0.25, 0.5, 0.75, 1.0])


def random_images(tree: TreeShape, images: int, key: str) -> Judged:
    rng = generator("hierarchical test", key)
    logits = rng.normal(0, 2, (images, len(tree.leaves)))
    leaf = rng.integers(len(tree.leaves), size=images)
    logits[np.arange(images), leaf] += 3
    likely = np.exp(logits)
    probs = np.minimum(summed_up(tree, likely / likely.sum(axis=1, keepdims=True)), 1)
    truth = tree.leaves[leaf]
    inner = rng.random(images) < 0.2
    truth = np.where(inner, np.maximum(tree.parent[truth], 0), truth)
    return Judged(tree, probs, truth.tolist())


def random_tree(key: str, *, nodes: int = 60) -> TreeShape:
    rng = generator("hierarchical tree", key)
    parent = np.sort(rng.integers(0, np.arange(1, nodes)))
    return TreeShape(np.concatenate([[-1], np.minimum(parent, np.arange(nodes - 1))]).astype("i4"))


def computed(data: Judged, **options: Any) -> OperatingPoints:
    curve = OperatingCurve(data.tree, **options)
    curve.update(data.probs, data.truth)
    return curve.compute()


@given(image_sets(), st.sampled_from(KINDS), MIN_CONFIDENCES)
def test_all_figures_agree_with_loops(
    data: Judged, kind: NodeValue, min_confidence: float | None
) -> None:
    found = hierarchical_metrics(
        data.probs, data.truth, data.tree, kind=kind, min_confidence=min_confidence
    )
    expected = reference.hierarchical_metrics(
        data.tree.parent.tolist(),
        data.probs.tolist(),
        data.truth,
        kind=kind,
        min_confidence=min_confidence,
    )
    assert list(found) == NAMES
    assert found == pytest.approx(expected, abs=1e-9)
    assert all(type(value) is float and 0 <= value <= 1 for value in found.values())


@given(image_sets(), st.sampled_from(KINDS), MIN_CONFIDENCES)
def test_the_curve_agrees_with_loops_at_every_threshold(
    data: Judged, kind: NodeValue, min_confidence: float | None
) -> None:
    points = computed(data, kind=kind, min_confidence=min_confidence)
    expected = reference.curve(
        reference.Tree(data.tree.parent.tolist(), kind),
        data.probs.tolist(),
        data.truth,
        min_confidence,
    )
    assert points.threshold.tolist() == list(expected)
    found = np.column_stack([points.recall, points.precision, points.correct])
    np.testing.assert_allclose(found, list(expected.values()), atol=1e-12)


@given(image_sets())
def test_the_pareto_sequences_agree_with_loops(data: Judged) -> None:
    steps = ParetoFinder(data.tree)(data.probs)
    tree = reference.Tree(data.tree.parent.tolist(), "depth")
    for image, row in enumerate(data.probs.tolist()):
        mine = steps.image == image
        found = list(zip(steps.confidence[mine].tolist(), steps.node[mine].tolist(), strict=True))
        assert found[::-1] == reference.pareto_sequence(tree, row, None)


@pytest.mark.parametrize("key", ["a", "b", "c"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_larger_trees_agree_with_loops(
    key: str, kind: NodeValue, dtype: type[np.floating[Any]]
) -> None:
    data = random_images(random_tree(key), 40, key)
    probs = data.probs.astype(dtype)
    found = hierarchical_metrics(probs, data.truth, data.tree, kind=kind, min_confidence=0.01)
    expected = reference.hierarchical_metrics(
        data.tree.parent.tolist(), probs.tolist(), data.truth, kind=kind, min_confidence=0.01
    )
    assert found == pytest.approx(expected, abs=1e-9)


@given(image_sets(), st.randoms(use_true_random=False), st.integers(1, 4))
def test_batches_merges_and_order_change_nothing(data: Judged, random: Any, parts: int) -> None:
    whole = computed(data)
    order = list(range(len(data.truth)))
    random.shuffle(order)
    curves = [OperatingCurve(data.tree) for _ in range(parts)]
    for at, image in enumerate(order):
        curves[at % parts].update(data.probs[[image]], [data.truth[image]])
    for curve in curves[1:]:
        curves[0].merge(curve)
    merged = curves[0].compute()
    assert merged.images == whole.images == curves[0].images
    assert merged.metrics == pytest.approx(whole.metrics, abs=1e-12)
    assert merged.threshold.tolist() == whole.threshold.tolist()
    np.testing.assert_allclose(merged.recall, whole.recall, atol=1e-12)


def test_more_images_than_a_block() -> None:
    data = random_images(random_tree("block"), 2500, "block")
    whole = computed(data)
    curve = OperatingCurve(data.tree)
    for start in range(0, 2500, 100):
        curve.update(data.probs[start : start + 100], data.truth[start : start + 100])
    assert curve.compute().metrics == pytest.approx(whole.metrics, abs=1e-12)


@given(image_sets())
def test_torch_equals_numpy_in_both_precisions(data: Judged) -> None:
    single = data.probs.astype(np.float32)
    expected = hierarchical_metrics(single, data.truth, data.tree)
    as_double = hierarchical_metrics(single.astype(np.float64), data.truth, data.tree)
    tensor = torch.from_numpy(single).requires_grad_()
    as_tensor = hierarchical_metrics(tensor, torch.tensor(data.truth), data.tree)
    assert expected == as_double == as_tensor


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_judged_as_its_values_are(dtype: torch.dtype) -> None:
    data = random_images(random_tree("half"), 30, "half")
    half = torch.from_numpy(data.probs).to(dtype).clamp(max=1)
    found = hierarchical_metrics(half, data.truth, data.tree)
    assert found == hierarchical_metrics(half.double().numpy(), data.truth, data.tree)
    if dtype == torch.float16:
        assert found == hierarchical_metrics(half.numpy(), data.truth, data.tree)


def test_whole_numbers_and_reversed_views_are_taken() -> None:
    probs = np.array([[1, 1, 0, 1, 0, 0, 0], [1, 0, 1, 0, 0, 0, 1]])
    found = hierarchical_metrics(probs[::-1], [6, 3], TWO_GENERA)
    assert set(found.values()) == {1.0}


@pytest.mark.parametrize("kind", KINDS)
def test_perfect_predictions_give_one(kind: NodeValue) -> None:
    tree = random_tree("perfect")
    probs = summed_up(tree, np.eye(len(tree.leaves)))
    for truth in (tree.leaves, tree.parent[tree.leaves]):
        found = hierarchical_metrics(probs, truth, tree, kind=kind)
        assert list(found.values()) == pytest.approx([1.0] * 7, abs=1e-12)


def test_nothing_but_the_root_gives_no_area() -> None:
    probs = np.repeat([[1.0, 0, 0, 0, 0, 0, 0]], 3, axis=0)
    found = hierarchical_metrics(probs, [3, 4, 6], TWO_GENERA, min_confidence=0.0)
    assert found == {
        "AP": 0,
        "AC": 0,
        "R@90": 0,
        "R@95": 0,
        "M-F1": 0,
        "L-F1": pytest.approx(0.5),  # leaf 3 is the lowest: right, a neighbour, far off
        "L-Top1": pytest.approx(1 / 3),
    }


def test_a_tree_of_one_node_and_a_chain_know_everything() -> None:
    for parent in ([-1], [-1, 0], [-1, 0, 1]):
        tree = TreeShape(np.array(parent, dtype=np.int32))
        for truth in range(tree.size):
            found = hierarchical_metrics(np.ones((1, tree.size)), [truth], tree)
            assert set(found.values()) == {1.0}


def test_the_only_child_is_named_instead_of_its_parent() -> None:
    chain = TreeShape(np.array([-1, 0, 0, 1], dtype=np.int32))  # node 1 has the only child 3
    found = hierarchical_metrics([[1, 0.9, 0.1, 0.4]], [3], chain)
    assert found["M-F1"] == 0  # 1 is likelier than 0.5, but is never named; 3 is not
    assert found["L-Top1"] == 1
    assert hierarchical_metrics([[1, 0.9, 0.1, 0.4]], [1], chain)["AP"] == 1


def test_equal_confidences_of_two_images_move_as_one() -> None:
    probs = [[1, 0.5, 0.25, 0.5, 0, 0.25, 0], [1, 0.25, 0.5, 0, 0.25, 0.5, 0]]
    curve = OperatingCurve(TWO_GENERA)
    curve.update(probs, [3, 6])
    points = curve.compute()
    assert points.threshold.tolist() == [np.inf, 0.5]
    assert points.recall.tolist() == [0.0, 0.75]
    assert points.correct.tolist() == [1.0, 0.5]


def test_shares_of_exactly_90_and_95_percent_are_reached() -> None:
    # All images step to a leaf at once, of which all but one are right.
    for images, missed in ((10, "R@95"), (20, None)):
        probs = np.tile([1.0, 0.75, 0.25], (images, 1))
        truth = [1] * (images - 1) + [2]
        tree = TreeShape(np.array([-1, 0, 0], dtype=np.int32))
        found = hierarchical_metrics(probs, truth, tree)
        share = (images - 1) / images
        for name in ("R@90", "R@95"):
            assert found[name] == pytest.approx(0 if name == missed else share)


def test_the_minimum_is_exclusive_and_spares_what_has_no_threshold() -> None:
    probs = [[1, 0.75, 0.25, 0.75, 0, 0.25, 0]]
    for minimum, ap in ((0.7, 1.0), (0.75, 0.0)):
        found = hierarchical_metrics(probs, [3], TWO_GENERA, min_confidence=minimum)
        assert found["AP"] == ap
        assert found["L-Top1"] == found["M-F1"] == 1


def test_without_a_likely_enough_name_the_root_is_named() -> None:
    scores = [[0.1] * 7, [0.1] * 7]  # no distribution: independent scores
    curve = OperatingCurve(TWO_GENERA, min_confidence=0.5)
    curve.update(scores, [3, 0])
    points = curve.compute()
    assert points.threshold.tolist() == [np.inf]
    assert (points.recall.tolist(), points.precision.tolist()) == ([0.5], [1.0])
    assert points.metrics["M-F1"] == 0.5  # the second truth is the root


@given(image_sets(), st.integers(1, 40))
def test_bins_are_right_at_their_edges_and_never_too_good(data: Judged, bins: int) -> None:
    exact, coarse = computed(data), computed(data, bins=bins)
    assert len(coarse.threshold) == bins + 1
    # At an edge stands the last exact point whose threshold is not below it.
    place = np.searchsorted(-exact.threshold, -coarse.threshold, side="right") - 1
    for figure in ("recall", "precision", "correct"):
        expected = getattr(exact, figure)[place]
        np.testing.assert_allclose(getattr(coarse, figure), expected, atol=1e-12)
    for name in NAMES[:4]:
        assert coarse.metrics[name] <= exact.metrics[name] + 1e-12
    for name in NAMES[4:]:
        assert coarse.metrics[name] == pytest.approx(exact.metrics[name])


def test_many_bins_come_near() -> None:
    data = random_images(random_tree("bins"), 500, "bins")
    exact, coarse = computed(data).metrics, computed(data, bins=10_000).metrics
    assert coarse == pytest.approx(exact, abs=5e-3)


def test_binned_curves_merge() -> None:
    data = random_images(random_tree("merge"), 50, "merge")
    halves = [OperatingCurve(data.tree, bins=64) for _ in range(2)]
    halves[0].update(data.probs[:20], data.truth[:20])
    halves[1].update(data.probs[20:], data.truth[20:])
    halves[0].merge(halves[1])
    assert halves[0].compute().metrics == pytest.approx(computed(data, bins=64).metrics)


def test_merging_an_empty_curve_changes_nothing() -> None:
    data = random_images(random_tree("empty"), 9, "empty")
    curve = OperatingCurve(data.tree)
    curve.update(data.probs, data.truth)
    curve.merge(OperatingCurve(data.tree))
    assert curve.compute().metrics == computed(data).metrics


@pytest.mark.parametrize(
    "other",
    [
        OperatingCurve(TWO_GENERA, kind="depth"),
        OperatingCurve(TWO_GENERA, min_confidence=0.1),
        OperatingCurve(TWO_GENERA, bins=10),
        OperatingCurve(TreeShape(np.array([-1, 0, 0], dtype=np.int32))),
    ],
)
def test_curves_of_other_options_do_not_merge(other: OperatingCurve) -> None:
    with pytest.raises(DataError, match="do not merge"):
        OperatingCurve(TWO_GENERA).merge(other)


def test_resampled_intervals_are_those_of_resampled_images() -> None:
    data = random_images(random_tree("resampled"), 120, "resampled")
    curve = OperatingCurve(data.tree)
    curve.update(data.probs, data.truth)
    found = curve.resampled(resamples=300, seed=3)
    assert {name: interval.estimate for name, interval in found.items()} == curve.compute().metrics
    for interval in found.values():
        assert interval.low <= interval.estimate <= interval.high
        assert 0.01 < interval.high - interval.low < 0.4
    assert found == curve.resampled(resamples=300, seed=3)
    assert found != curve.resampled(resamples=300, seed=4)
    leaf_right = [
        hierarchical_metrics(data.probs[[i]], [data.truth[i]], data.tree)["L-Top1"]
        for i in range(120)
    ]
    plain = bootstrap_interval(lambda x: x.mean(axis=-1), leaf_right, resamples=2000)
    assert found["L-Top1"].low == pytest.approx(plain.low, abs=0.04)
    assert found["L-Top1"].high == pytest.approx(plain.high, abs=0.04)


def test_weights_count_as_repeated_images() -> None:
    data = random_images(random_tree("weights"), 30, "weights")
    weights = image_weights(30, seed=0, resample=0)
    assert weights.sum() == 30
    drawn = np.repeat(np.arange(30), weights)
    expected = hierarchical_metrics(data.probs[drawn], np.array(data.truth)[drawn], data.tree)
    curve, other = OperatingCurve(data.tree), OperatingCurve(data.tree)
    curve.update(data.probs[:7], data.truth[:7])
    curve.update(data.probs[7:12], data.truth[7:12])
    other.update(data.probs[12:], data.truth[12:])
    curve.merge(other)
    once = curve.resampled(resamples=1, seed=0)
    assert {name: interval.low for name, interval in once.items()} == pytest.approx(expected)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1))
def test_the_staircase_is_symmetric_and_agrees_with_strips(points: list[tuple[int, int]]) -> None:
    x, y = np.array(points, dtype=float).T
    assert staircase_area(x, y) == staircase_area(y, x) == reference.area(points)


@given(image_sets(), st.sampled_from(KINDS))
def test_agreement_agrees_with_loops(data: Judged, kind: NodeValue) -> None:
    tree = reference.Tree(data.tree.parent.tolist(), kind)
    named = np.repeat(np.arange(data.tree.size), data.tree.size)
    truth = np.tile(np.arange(data.tree.size), data.tree.size)
    found = hierarchical_agreement(named, truth, data.tree, kind=kind)
    pairs = list(zip(named.tolist(), truth.tolist(), strict=True))
    np.testing.assert_allclose(found.recall, [tree.recall(n, t) for n, t in pairs])
    np.testing.assert_allclose(found.precision, [tree.precision(n, t) for n, t in pairs])
    np.testing.assert_allclose(found.f1, [tree.f1(n, t) for n, t in pairs])
    assert found.correct.tolist() == [tree.correct(n, t) for n, t in pairs]


@pytest.mark.parametrize(
    ("probs", "truth", "message"),
    [
        ([1.0] * 7, [3], r"\(B, 7\), one column a node, got float64 of shape \(7,\)"),
        ([[1.0] * 6], [3], r"shape \(1, 6\)"),
        ([["a"] * 7], [3], "as numbers"),
        ([[1.0] * 7, [1.0, np.nan, *[0.0] * 5]], [3, 3], "got nan in row 1 for node 1 .1 rows"),
        ([[1.0, np.inf, *[0.0] * 5]], [3], "got inf in row 0 for node 1"),
        ([[1.0, 1.01, *[0.0] * 5]], [3], r"in \[0, 1\], got 1.01"),
        ([[1.0, -0.01, *[0.0] * 5]], [3], r"in \[0, 1\], got -0.01"),
        ([[1.0] * 7], [7], "target nodes from 0 to 6, got 7"),
        ([[1.0] * 7], [-1], "target nodes from 0 to 6, got -1"),
        ([[1.0] * 7], [3.0], "one row of integers"),
        ([[1.0] * 7], 3, "one row of integers"),
        ([[1.0] * 7], [3, 3], "target nodes for 1 images, got 2"),
        (np.zeros((0, 7)), [], "no images"),
    ],
)
def test_wrong_input_is_refused(probs: Any, truth: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        hierarchical_metrics(probs, truth, TWO_GENERA)


def test_rounding_beyond_one_is_taken() -> None:
    probs = np.array([[1 + 1e-4, 1.0, -1e-7, 1.0, 0, 0, 0]])
    for bins in (None, 4):
        curve = OperatingCurve(TWO_GENERA, bins=bins)
        curve.update(probs, [3])
        assert curve.compute().metrics["AP"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "information content"}, "one of information, depth, got 'information content'"),
        ({"min_confidence": -0.1}, r"min_confidence in \[0, 1\]"),
        ({"min_confidence": float("nan")}, r"min_confidence in \[0, 1\]"),
        ({"bins": 0}, "at least one bin"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        OperatingCurve(TWO_GENERA, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": 1.0}, "level"),
        ({"resamples": 0}, "at least one resample"),
    ],
)
def test_wrong_resampling_is_refused(options: dict[str, Any], message: str) -> None:
    curve = OperatingCurve(TWO_GENERA)
    with pytest.raises(DataError, match="no images"):
        curve.resampled()
    curve.update(np.ones((1, 7)), [3])
    with pytest.raises(DataError, match=message):
        curve.resampled(**options)


def test_bins_cannot_be_resampled() -> None:
    curve = OperatingCurve(TWO_GENERA, bins=10)
    curve.update(np.ones((1, 7)), [3])
    with pytest.raises(DataError, match="bins=None"):
        curve.resampled()


def test_a_refused_batch_leaves_the_curve_as_it_was() -> None:
    curve = OperatingCurve(TWO_GENERA)
    curve.update(np.ones((1, 7)), [3])
    with pytest.raises(DataError):
        curve.update(np.ones((2, 7)), [3, 9])
    assert curve.compute().images == 1
