import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from taxonet.errors import ConfigError, DataError
from taxonet.inference import GraphDiffusion, tree_graph
from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy
from tests.reference.diffusion import slow_limit

TREE = Taxonomy.from_parents(list("abcdefg"), [-1, 0, 0, 0, 1, 1, 3])


@st.composite
def trees(draw: st.DrawFn) -> Taxonomy:
    size = draw(st.integers(1, 20))
    parents = [-1, *(draw(st.integers(0, node - 1)) for node in range(1, size))]
    return Taxonomy.from_parents([f"n{node}" for node in range(size)], parents)


def random_scores(*shape: int) -> np.ndarray:
    return generator("graph diffusion", *shape).normal(size=shape)


@given(tree=trees(), alpha=st.floats(0, 0.99))
def test_the_tree_alone_gives_the_limit_on_the_tree(tree: Taxonomy, alpha: float) -> None:
    scores = random_scores(3, len(tree))
    found = GraphDiffusion(tree_graph(tree), alpha=alpha)(scores)
    np.testing.assert_allclose(
        found, slow_limit(tree.parent.tolist(), scores, alpha=alpha), atol=1e-10
    )


@given(tree=trees())
def test_siblings_are_joined_once(tree: Taxonomy) -> None:
    joined = (tree_graph(tree, sibling_weight=0.25) - tree_graph(tree)).toarray()
    for i in range(len(tree)):
        for j in range(len(tree)):
            are = i != j and i > 0 and j > 0 and tree.parent[i] == tree.parent[j]
            assert joined[i, j] == (0.25 if are else 0.0)


def test_confusion_joins_what_is_mixed_up() -> None:
    counts = np.zeros((7, 7))
    counts[4, 4], counts[4, 5], counts[5, 5], counts[6, 5] = 3, 1, 8, 2
    graph = (tree_graph(TREE, confusion=counts, confusion_weight=2.0) - tree_graph(TREE)).toarray()
    expected = np.zeros((7, 7))
    expected[4, 5] = expected[5, 4] = 0.25  # a quarter of e is named f, none of f is named e
    expected[6, 5] = expected[5, 6] = 1.0
    np.testing.assert_allclose(graph, expected)
    assert (
        tree_graph(TREE, confusion=sparse.csr_array(counts)) != tree_graph(TREE, confusion=counts)
    ).nnz == 0


def test_the_limit_solves_its_equation_on_any_graph() -> None:
    weights = np.abs(random_scores(7, 7))
    weights = weights + weights.T
    np.fill_diagonal(weights, 5.0)  # does not count
    weights[6] = weights[:, 6] = 0  # a node without edges
    scores = random_scores(2, 7)
    limit = GraphDiffusion(weights, alpha=0.6)(scores)
    edges = weights - np.diag(np.diag(weights))
    degree = edges.sum(axis=1)
    degree[6] = 1
    normalised = edges / np.sqrt(np.outer(degree, degree))
    np.testing.assert_allclose(0.6 * limit @ normalised + 0.4 * scores, limit, atol=1e-12)
    np.testing.assert_allclose(limit[:, 6], 0.4 * scores[:, 6])


def test_what_does_not_fit_is_refused() -> None:
    graph = tree_graph(TREE)
    with pytest.raises(ConfigError, match=r"alpha in \[0, 1\), got 1"):
        GraphDiffusion(graph, alpha=1.0)
    with pytest.raises(DataError, match=r"square weights, but got \(2, 3\)"):
        GraphDiffusion(np.ones((2, 3)))
    with pytest.raises(DataError, match="symmetric"):
        GraphDiffusion([[0.0, 1.0], [0.0, 0.0]])
    with pytest.raises(DataError, match="at least 0"):
        GraphDiffusion([[0.0, -1.0], [-1.0, 0.0]])
    with pytest.raises(DataError, match=r"scores \(B, 7\), but got \(7,\)"):
        GraphDiffusion(graph)(np.zeros(7))
    with pytest.raises(ConfigError, match="weights of at least 0"):
        tree_graph(TREE, sibling_weight=-1.0)
    with pytest.raises(DataError, match=r"matrix \(7, 7\)"):
        tree_graph(TREE, confusion=np.ones((3, 3)))
    star = Taxonomy.from_parents([str(i) for i in range(10_000)], [-1] + [0] * 9999)
    with pytest.raises(ConfigError, match="49985001 pairs of siblings"):
        tree_graph(star, sibling_weight=0.5)
