import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import DataError
from taxonet.inference import covering_node, covering_nodes
from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy
from tests.reference import decisions as reference


@st.composite
def trees(draw: st.DrawFn) -> Taxonomy:
    """Any tree of 2 to 12 nodes: chains, only children, ragged leaves."""
    nodes = draw(st.integers(2, 12))
    parents = [-1, *(draw(st.integers(0, node - 1)) for node in range(1, nodes))]
    return Taxonomy.from_parents([f"n{node:02}" for node in range(nodes)], parents)


@given(trees(), st.integers(0, 10**6))
def test_covers_equal_the_loops(tree: Taxonomy, key: int) -> None:
    parent = tree.parent.tolist()
    sets = generator("sets", key).random((6, len(tree.leaves))) < 0.6
    node, nodes = covering_node(tree, sets), covering_nodes(tree, sets)
    for row, held in enumerate(sets):
        leaf_set = set(tree.leaves[held].tolist())
        assert node[row] == reference.deepest_cover(parent, leaf_set)
        assert set(nodes[row].nonzero()[0].tolist()) == reference.exact_cover(parent, leaf_set)


@given(trees(), st.integers(0, 10**6))
def test_the_nodes_have_exactly_the_leaves(tree: Taxonomy, key: int) -> None:
    sets = generator("sets", key).random((6, len(tree.leaves))) < 0.6
    for held, chosen in zip(sets, covering_nodes(tree, sets), strict=True):
        below = [leaf for node in chosen.nonzero()[0] for leaf in tree.subtree(int(node))]
        leaves = [leaf for leaf in below if leaf in tree.leaves]
        assert sorted(leaves) == tree.leaves[held].tolist()  # none twice: no node above another


def test_all_leaves_and_none() -> None:
    tree = Taxonomy.from_edges([("root", "a"), ("root", "b"), ("a", "c"), ("a", "d")])
    every, none = np.ones((1, 3), dtype=bool), np.zeros((1, 3), dtype=bool)
    assert covering_nodes(tree, every).nonzero()[1].tolist() == [0]
    assert covering_node(tree, every).tolist() == [0]
    assert not covering_nodes(tree, none).any()
    assert covering_node(tree, none).tolist() == [0]


def test_sets_that_do_not_fit_are_refused() -> None:
    tree = Taxonomy.from_edges([("root", "a"), ("root", "b")])
    for sets in (np.ones((1, 3), dtype=bool), np.ones((1, 2))):
        with pytest.raises(DataError, match=r"as booleans \(B, 2\)"):
            covering_node(tree, sets)  # type: ignore[arg-type]
