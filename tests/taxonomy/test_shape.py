import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taxonet.errors import TaxonomyError
from taxonet.seeds import generator
from taxonet.taxonomy.shape import TreeShape
from tests.reference.taxonomy import slow_ancestors, slow_lca, slow_leaves, slow_subtree


@st.composite
def shapes(draw: st.DrawFn) -> TreeShape:
    """Any tree: each node's parent is not before its left neighbour's, and before itself."""
    parent = [-1]
    for node in range(1, draw(st.integers(1, 14))):
        parent.append(draw(st.integers(max(0, parent[-1]), node - 1)))
    return TreeShape(np.array(parent, dtype=np.int32))


@given(shapes())
def test_everything_agrees_with_loops_over_the_parent_array(shape: TreeShape) -> None:
    parent = shape.parent.tolist()
    nodes = range(len(shape))
    leaves = slow_leaves(parent)
    assert shape.leaves.tolist() == leaves
    assert shape.depth.tolist() == [len(slow_ancestors(parent, v)) - 1 for v in nodes]
    below = [[leaf for leaf in leaves if v in slow_ancestors(parent, leaf)] for v in nodes]
    assert shape.leaf_count.tolist() == [len(some) for some in below]
    expected = [-np.log2(len(some) / len(leaves)) for some in below]
    np.testing.assert_allclose(shape.information, expected, atol=1e-12)
    for node in nodes:
        assert list(shape.children(node)) == [v for v in nodes if parent[v] == node]
        assert shape.ancestors(node).tolist() == slow_ancestors(parent, node)
        assert shape.subtree(node).tolist() == slow_subtree(parent, node)


@given(shapes())
def test_lca_of_all_pairs_agrees_with_a_loop_and_broadcasts(shape: TreeShape) -> None:
    parent = shape.parent.tolist()
    nodes = np.arange(len(shape))
    expected = [[slow_lca(parent, a, b) for b in nodes.tolist()] for a in nodes.tolist()]
    assert shape.lca(nodes[:, None], nodes[None, :]).tolist() == expected
    assert int(shape.lca(nodes[-1], 0)) == 0


@given(shapes())
def test_each_level_is_a_partition_of_the_leaves(shape: TreeShape) -> None:
    for depth in range(len(shape.level_slices) + 1):
        level = shape.level(depth)
        reached = shape.ancestor_at_depth(shape.leaves, depth)
        assert sorted(set(reached.tolist())) == level.tolist()
        assert shape.leaf_count[level].sum() == len(shape.leaves)
        assert (shape.depth[reached] == np.minimum(shape.depth[shape.leaves], depth)).all()


@given(shapes())
def test_level_slices_cut_the_nodes_by_depth(shape: TreeShape) -> None:
    assert [shape.depth[level].tolist() for level in shape.level_slices] == [
        [depth] * int((shape.depth == depth).sum()) for depth in range(int(shape.depth[-1]) + 1)
    ]


def test_a_tree_of_one_node() -> None:
    shape = TreeShape(np.array([-1], dtype=np.int32))
    assert shape.leaves.tolist() == [0]
    assert shape.information.tolist() == [0.0]
    assert shape.children(0) == range(1, 1)
    assert shape.lca(0, 0) == 0
    assert shape.subtree(0).tolist() == [0]
    assert shape.level_slices == (slice(0, 1),)


def test_a_chain_of_5000_nodes_needs_no_recursion() -> None:
    chain = TreeShape(np.arange(-1, 4999, dtype=np.int32))
    assert chain.ancestors(4999).tolist() == list(range(4999, -1, -1))
    assert chain.lca([4999, 17], [2500, 4000]).tolist() == [2500, 17]
    assert chain.leaf_count.tolist() == [1] * 5000
    assert chain.subtree(4000).tolist() == list(range(4000, 5000))


def test_arrays_are_read_only() -> None:
    shape = TreeShape(np.array([-1, 0, 0], dtype=np.int32))
    for array in (shape.parent, shape.depth, shape.leaves, shape.leaf_count, shape.information):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 5


def test_the_documented_types() -> None:
    shape = TreeShape(np.array([-1, 0, 0], dtype=np.int32))
    assert shape.depth.dtype == np.dtype("int32")
    assert shape.leaves.dtype == np.dtype("int64")
    assert shape.leaf_count.dtype == np.dtype("int64")
    assert shape.information.dtype == np.dtype("float64")
    assert shape.lca([1], [2]).dtype == np.int64


@pytest.mark.parametrize("node", [-1, 3])
def test_a_node_outside_the_tree_is_an_error_and_not_counted_from_the_end(node: int) -> None:
    shape = TreeShape(np.array([-1, 0, 0], dtype=np.int32))
    with pytest.raises(TaxonomyError, match=r"Nodes are 0 to 2, but got -?\d"):
        shape.lca([0, node], 1)
    with pytest.raises(TaxonomyError, match="Nodes are 0 to 2"):
        shape.ancestors(node)


@settings(max_examples=5)
@given(st.integers(0, 1000))
def test_lca_in_a_random_tree_of_many_nodes(seed: int) -> None:
    random = generator("tree", seed)
    parent = np.sort([0, *(random.integers(0, np.arange(1, 3000)))])
    parent[0] = -1
    shape = TreeShape(parent.astype(np.int32))
    a, b = random.integers(0, 3000, (2, 50))
    expected = [
        slow_lca(parent.tolist(), x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)
    ]
    assert shape.lca(a, b).tolist() == expected
