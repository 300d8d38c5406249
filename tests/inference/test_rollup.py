"""Rollups against loops over nodes, and what must hold of any of them."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import ConfigError, TaxonomyError
from taxonet.inference.rollup import (
    bottom_up,
    greedy_descent,
    greedy_path,
    level_top_down,
    top_down,
)
from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy

RAGGED = [-1, 0, 0, 0, 1, 1, 3, 4, 4, 4, 6]  # a leaf below the root, chains 0-3-6-10


@st.composite
def trees(draw: st.DrawFn) -> Taxonomy:
    size = draw(st.integers(1, 15))
    parents = [-1, *(draw(st.integers(0, node - 1)) for node in range(1, size))]
    return Taxonomy.from_parents([f"n{node}" for node in range(size)], parents)


def ragged() -> Taxonomy:
    return Taxonomy.from_parents([f"n{node:02}" for node in range(len(RAGGED))], RAGGED)


def drawn(*shape: int) -> torch.Tensor:
    return torch.from_numpy(generator("rollup", *shape).normal(size=shape))


def children_sums(tree: Taxonomy, probs: torch.Tensor) -> torch.Tensor:
    """Return for each inner node the sum of its children and its own value ``(B, p, 2)``."""
    inner = [node for node in range(len(tree)) if len(tree.children(node))]
    both = [(probs[:, list(tree.children(node))].sum(1), probs[:, node]) for node in inner]
    return torch.stack([torch.stack(pair, dim=1) for pair in both], dim=1)


@given(trees())
def test_bottom_up_sums_the_leaves_below(tree: Taxonomy) -> None:
    leaf_probs = drawn(3, len(tree.leaves)).softmax(1)
    found = bottom_up(leaf_probs, tree)
    place = {int(leaf): column for column, leaf in enumerate(tree.leaves)}
    for node in range(len(tree)):
        below = [place[int(v)] for v in tree.subtree(node) if int(v) in place]
        torch.testing.assert_close(found[:, node], leaf_probs[:, below].sum(1))


@given(trees())
def test_top_down_multiplies_along_the_path(tree: Taxonomy) -> None:
    scores = drawn(3, len(tree))
    found = top_down(scores, tree)
    for node in range(len(tree)):
        expected = torch.ones(3, dtype=torch.float64)
        for step in tree.ancestors(node)[:-1]:
            siblings = list(tree.children(int(tree.parent[step])))
            expected = expected * scores[:, step].exp() / scores[:, siblings].exp().sum(1)
        torch.testing.assert_close(found[:, node], expected)


@given(trees())
def test_level_top_down_weighs_each_leaf_by_its_parent(tree: Taxonomy) -> None:
    level_probs = drawn(3, len(tree)).sigmoid()
    found = level_top_down(level_probs, tree)
    weighed = torch.stack(
        [
            level_probs[:, leaf] * (level_probs[:, tree.parent[leaf]] if tree.parent[leaf] else 1)
            if leaf
            else level_probs[:, 0]
            for leaf in tree.leaves.tolist()
        ],
        dim=1,
    )
    expected = bottom_up(weighed / weighed.sum(1, keepdim=True), tree)
    torch.testing.assert_close(found, expected)


@given(trees(), st.floats(0, 1))
def test_the_walk_down_is_that_of_a_loop(tree: Taxonomy, threshold: float) -> None:
    # Rounded, so that siblings are equal now and then.
    probs = (drawn(4, len(tree)).sigmoid() * 5).round() / 5
    found = greedy_descent(probs, tree, threshold_prob=threshold)
    for row in range(4):
        node = 0
        while len(tree.children(node)):
            best = max(tree.children(node), key=lambda v: (float(probs[row, v]), -v))
            if float(probs[row, best]) < threshold:
                break
            node = best
        assert int(found[row]) == node


@given(trees(), st.floats(0.01, 1))
def test_the_path_down_holds_the_walks_at_all_thresholds(tree: Taxonomy, threshold: float) -> None:
    probs = ((drawn(4, len(tree)).sigmoid() * 5).round() / 5).clamp_min(0.01)
    path = greedy_path(probs, tree)
    assert bool((path[:, 0] == 1).all())
    for row, ends in enumerate(greedy_descent(probs, tree, threshold_prob=threshold).tolist()):
        reached = np.flatnonzero(path[row].numpy() >= threshold)
        assert reached.tolist() == tree.ancestors(ends)[::-1].tolist()
        assert int((path[row] > 0).sum()) == int(tree.depth[np.flatnonzero(path[row])[-1]]) + 1


@pytest.mark.parametrize("rollup", [top_down, level_top_down])
def test_children_sum_to_their_parent(
    rollup: Callable[[torch.Tensor, Taxonomy], torch.Tensor],
) -> None:
    tree = ragged()
    found = rollup(drawn(5, len(tree)).sigmoid(), tree)
    sums = children_sums(tree, found)
    torch.testing.assert_close(sums[..., 0], sums[..., 1])
    torch.testing.assert_close(found[:, 0], torch.ones(5, dtype=torch.float64))


@pytest.mark.parametrize("rollup", [top_down, level_top_down])
def test_the_order_of_siblings_does_not_matter(
    rollup: Callable[[torch.Tensor, Taxonomy], torch.Tensor],
) -> None:
    tree = ragged()
    names = [f"n{node:02}" for node in range(len(RAGGED))]
    order = generator("other names").permutation(len(names))
    other = Taxonomy.from_parents([names[k] for k in order], RAGGED)
    # The node of the other tree that was the same one in the list of parents.
    place = [other.names.index(names[order[node]]) for node in range(len(RAGGED))]
    here = [tree.names.index(names[node]) for node in range(len(RAGGED))]
    scores = drawn(4, len(RAGGED)).sigmoid()
    moved = torch.empty_like(scores)
    moved[:, place] = scores[:, here]
    torch.testing.assert_close(rollup(moved, other)[:, place], rollup(scores, tree)[:, here])


def test_where_all_products_are_0_leaves_stay_and_then_are_alike() -> None:
    tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d"), ("c", "e")])
    probs = torch.tensor([[1, 0, 0, 0.25, 0.25], [1, 0, 0, 0, 0]])
    assert level_top_down(probs, tree)[:, 3:].tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_gradients() -> None:
    tree = ragged()
    scores = drawn(2, len(tree)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: top_down(x, tree), [scores])
    assert torch.autograd.gradcheck(lambda x: level_top_down(x.sigmoid(), tree), [scores])
    leaf_scores = drawn(2, len(tree.leaves)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: bottom_up(x.softmax(1), tree), [leaf_scores])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_extreme_scores_stay_finite(dtype: torch.dtype) -> None:
    tree = ragged()
    scores = (1e4 * drawn(6, len(tree))).to(dtype).requires_grad_()
    found = top_down(scores, tree)
    assert found.dtype == dtype
    assert bool(found.isfinite().all())
    (gradient,) = torch.autograd.grad(found.float().sum(), scores)
    assert bool(gradient.isfinite().all())


def test_what_does_not_fit_is_named() -> None:
    tree = ragged()
    with pytest.raises(TaxonomyError, match=r"leaf probabilities \(B, 6\)"):
        bottom_up(torch.ones(2, 5), tree)
    for rollup in (top_down, level_top_down):
        with pytest.raises(TaxonomyError, match=r"values \(B, 11\)"):
            rollup(torch.ones(2, 6), tree)
    with pytest.raises(ConfigError, match=r"in \[0, 1\], but is 1\.5"):
        greedy_descent(torch.ones(2, 11), tree, threshold_prob=1.5)
    assert np.array_equal(greedy_descent(torch.ones(1, 11), tree, threshold_prob=1.0), [7])
