"""What the hierarchical losses stand on, against loops over nodes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taxonet.losses.hierarchical.branches import NOTHING, log1p_exp, logsumexp_by_depth
from taxonet.losses.hierarchical.common_ancestor import depths_of_common_ancestors
from taxonet.losses.hierarchical.leaf_softmax import leaves_below
from taxonet.losses.hierarchical.levels import Level, split_by_depth
from taxonet.losses.hierarchical.path_children import path_children
from taxonet.losses.hierarchical.places import places_of
from taxonet.losses.hierarchical.ragged import (
    concatenated_ranges,
    segment_log_softmax,
    segment_logsumexp,
)
from taxonet.losses.hierarchical.shared_scores import shared_scores
from taxonet.taxonomy import Taxonomy
from taxonet.taxonomy.propagate import paths_to, sum_down
from tests.reference import hierarchical_losses as slow

CPU = torch.device("cpu")


@st.composite
def trees(draw: st.DrawFn) -> Taxonomy:
    size = draw(st.integers(1, 15))
    parents = [-1, *(draw(st.integers(0, node - 1)) for node in range(1, size))]
    return Taxonomy.from_parents([f"n{node}" for node in range(size)], parents)


@given(trees())
def test_subtrees_are_ranges(tree: Taxonomy) -> None:
    parent, places = tree.parent.tolist(), places_of(tree, CPU)
    for node in range(len(tree)):
        nodes = places.node_at[places.node_first[node] : places.node_stop[node]]
        assert sorted(nodes.tolist()) == tree.subtree(node).tolist()
        columns = places.leaf_at[places.leaf_first[node] : places.leaf_stop[node]]
        assert sorted(places.leaves[columns].tolist()) == slow.leaves_below(parent, node)
        children = range(int(places.first_child[node]), int(places.first_child[node + 1]))
        assert list(children) == slow.children(parent, node)


@given(trees())
def test_depths_of_common_ancestors_equal_the_loop(tree: Taxonomy) -> None:
    everyone = np.arange(len(tree))
    depths = depths_of_common_ancestors(tree, paths_to(tree, torch.from_numpy(everyone))[0])
    assert depths.tolist() == tree.depth[tree.lca(everyone[:, None], everyone)].tolist()


@given(trees())
def test_leaves_below_and_children_of_paths_equal_the_loop(tree: Taxonomy) -> None:
    parent, target = tree.parent.tolist(), torch.arange(len(tree))
    leaf, image = leaves_below(tree, target)
    found = path_children(tree, target)
    assert found.steps == sum(slow.depth(parent, node) for node in range(len(tree)))
    for y in range(len(tree)):
        assert sorted(tree.leaves[leaf[image == y].numpy()]) == slow.leaves_below(parent, y)
        above = slow.path(parent, y)[:-1]
        expected = [child for node in above for child in slow.children(parent, node)]
        assert found.node[found.image == y].tolist() == expected
        chosen = found.chosen[found.image[found.chosen] == y]
        assert found.node[chosen].tolist() == slow.path(parent, y)[1:]


@given(trees(), st.integers(1, 3))
def test_shared_scores_are_sums_down_without_the_root(tree: Taxonomy, rows: int) -> None:
    scores = torch.randn(rows, len(tree), dtype=torch.float64)
    expected = sum_down(tree, scores.index_fill(1, torch.tensor([0]), 0.0))
    before = scores.clone()
    torch.testing.assert_close(shared_scores(tree, scores), expected)
    of_leaves = shared_scores(tree, scores, leaves_only=True)
    torch.testing.assert_close(of_leaves, expected[:, torch.tensor(tree.leaves)])
    assert torch.equal(scores, before)


@given(trees())
def test_levels_are_those_of_the_tree(tree: Taxonomy) -> None:
    columns = split_by_depth(tree, torch.arange(len(tree)).unsqueeze(0))
    paths, _ = paths_to(tree, torch.arange(len(tree)))
    parent = tree.parent.tolist()
    for at in range(1, len(tree.level_slices)):
        level = Level(tree, at)
        nodes = slow.level(parent, at)
        assert level.columns(columns)[0].tolist() == nodes == level.nodes.tolist()
        place, has_one = level.targets(paths)
        for y in range(len(tree)):
            on_level = [node for node in slow.path(parent, y) if node in nodes]
            assert bool(has_one[y]) == bool(on_level)
            if on_level:
                assert nodes[int(place[y])] == on_level[0]


def test_ranges_may_be_empty() -> None:
    items, owner = concatenated_ranges(torch.tensor([4, 9, 0]), torch.tensor([4, 11, 1]))
    assert items.tolist() == [9, 10, 0]
    assert owner.tolist() == [1, 1, 2]
    items, owner = concatenated_ranges(torch.tensor([], dtype=torch.int64), torch.tensor([]).long())
    assert items.tolist() == owner.tolist() == []


def test_segments_equal_torch() -> None:
    values = torch.randn(7, dtype=torch.float64, requires_grad=True)
    owner = torch.tensor([0, 0, 1, 1, 1, 1, 2])
    parts = torch.split(values, [2, 4, 1])
    torch.testing.assert_close(
        segment_log_softmax(values, owner, 3), torch.cat([part.log_softmax(0) for part in parts])
    )
    torch.testing.assert_close(
        segment_logsumexp(values, owner, 3), torch.stack([part.logsumexp(0) for part in parts])
    )
    assert torch.autograd.gradcheck(lambda x: segment_log_softmax(x, owner, 3), (values,))
    assert torch.autograd.gradcheck(lambda x: segment_logsumexp(x, owner, 3), (values,))


def test_segments_at_extremes() -> None:
    values = torch.tensor([1e4, -1e4, -torch.inf, 3.0])
    owner = torch.tensor([0, 0, 1, 1])
    assert segment_logsumexp(values, owner, 2).tolist() == [1e4, 3.0]
    assert segment_log_softmax(values[:2], owner[:2], 1).tolist() == [0.0, -2e4]


@pytest.mark.parametrize("spread", [1.0, 100.0])
def test_logsumexp_by_depth_equals_torch_and_marks_what_is_empty(spread: float) -> None:
    draw = torch.Generator().manual_seed(0)
    scores = spread * torch.randn(2, 5, dtype=torch.float64, generator=draw)
    scores.requires_grad_()
    depths = torch.tensor([[0, 2, 2, 0, 2], [1, 1, 1, 1, 1]])
    sums = logsumexp_by_depth(scores, depths, 3)
    torch.testing.assert_close(sums[0, 2], scores[0, [1, 2, 4]].logsumexp(0))
    torch.testing.assert_close(sums[1, 1], scores[1].logsumexp(0))
    assert sums[0, 1].item() == sums[1, 0].item() == NOTHING
    assert torch.autograd.gradcheck(lambda x: logsumexp_by_depth(x, depths, 3), (scores,))


@pytest.mark.parametrize("value", [-1e30, -1e4, -30.0, 0.0, 30.0, 1e4])
def test_log1p_exp_is_exact_and_smooth(value: float) -> None:
    given_value = torch.tensor(value, dtype=torch.float64, requires_grad=True)
    result = log1p_exp(given_value)
    expected = max(value, 0) + np.log1p(np.exp(-abs(value)))
    assert result.item() == pytest.approx(expected, rel=1e-14)
    (slope,) = torch.autograd.grad(result, given_value)
    assert slope.item() == pytest.approx(1 / (1 + np.exp(min(-value, 700))), rel=1e-9)
