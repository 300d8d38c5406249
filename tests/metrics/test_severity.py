import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import DataError
from taxonet.metrics import (
    hierarchical_distance_at_k,
    lca_heights,
    mistake_severity,
    node_heights,
)
from taxonet.taxonomy.shape import TreeShape
from tests.reference import hierarchical_metrics as reference

RAGGED = TreeShape(np.array([-1, 0, 0, 1, 1, 3, 3], dtype=np.int32))
"""Leaves 2 (depth 1), 4 (depth 2), 5 and 6 (depth 3)."""


@st.composite
def pairs(draw: st.DrawFn) -> tuple[TreeShape, list[tuple[int, int]]]:
    parent = [-1]
    for node in range(1, draw(st.integers(1, 12))):
        parent.append(draw(st.integers(max(0, parent[-1]), node - 1)))
    nodes = st.integers(0, len(parent) - 1)
    tree = TreeShape(np.array(parent, dtype=np.int32))
    return tree, draw(st.lists(st.tuples(nodes, nodes), min_size=1, max_size=12))


@given(pairs())
def test_everything_agrees_with_loops(drawn: tuple[TreeShape, list[tuple[int, int]]]) -> None:
    tree, named_and_true = drawn
    parent = tree.parent.tolist()
    heights = [reference.node_height(parent, node) for node in range(tree.size)]
    assert node_heights(tree).tolist() == heights
    named, truth = [n for n, _ in named_and_true], [t for _, t in named_and_true]
    expected = [reference.lca_height(parent, n, t) for n, t in named_and_true]
    assert lca_heights(named, truth, tree).tolist() == expected
    mistakes = [height for height in expected if height]
    severity = sum(mistakes) / len(mistakes) if mistakes else None
    assert mistake_severity(named, truth, tree) == pytest.approx(severity)
    distance = hierarchical_distance_at_k([[n] for n in named], truth, tree)
    assert distance == pytest.approx(sum(expected) / len(expected))


def test_the_height_is_the_longest_way_down() -> None:
    assert node_heights(RAGGED).tolist() == [3, 2, 0, 1, 0, 0, 0]
    assert mistake_severity([6, 4, 2, 5], [5, 5, 5, 5], RAGGED) == pytest.approx((1 + 2 + 3) / 3)
    assert hierarchical_distance_at_k([[5, 6, 4], [2, 4, 5]], [5, 2], RAGGED) == pytest.approx(
        (0 + 1 + 2 + 0 + 3 + 3) / 6
    )


def test_a_name_below_the_truth_is_no_mistake_and_one_above_is() -> None:
    assert mistake_severity([5], [3], RAGGED) is None
    assert mistake_severity([3], [5], RAGGED) == 1


def test_nothing_to_average_is_none() -> None:
    assert mistake_severity([], [], RAGGED) is None
    assert hierarchical_distance_at_k(np.zeros((0, 3), dtype=int), [], RAGGED) is None


def test_tensors_are_taken() -> None:
    named, truth = torch.tensor([6, 2]), torch.tensor([5, 2], dtype=torch.int32)
    assert mistake_severity(named, truth, RAGGED) == 1
    assert hierarchical_distance_at_k(named[:, None], truth, RAGGED) == 0.5


def test_wrong_input_is_refused() -> None:
    with pytest.raises(DataError, match="predicted nodes from 0 to 6, got 7"):
        mistake_severity([7], [3], RAGGED)
    with pytest.raises(DataError, match="target nodes for 2 images, got 1"):
        mistake_severity([4, 4], [3], RAGGED)
    with pytest.raises(DataError, match=r"\(B, k\), k at least 1, got \(2,\)"):
        hierarchical_distance_at_k([1, 2], [1, 2], RAGGED)
    with pytest.raises(DataError, match="k at least 1"):
        hierarchical_distance_at_k(np.zeros((2, 0), dtype=int), [1, 2], RAGGED)
