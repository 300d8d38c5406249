import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxonet.data import ClassIndex
from taxonet.errors import DataError


@given(nodes=st.lists(st.integers(0, 30), min_size=1), asked=st.lists(st.integers(-2, 40)))
def test_against_a_dictionary(nodes: list[int], asked: list[int]) -> None:
    classes = ClassIndex.from_nodes(nodes)
    index = {node: i for i, node in enumerate(sorted(set(nodes)))}
    assert classes.class_nodes.tolist() == list(index)
    assert classes.class_counts.tolist() == [nodes.count(node) for node in index]
    assert classes.targets(asked).tolist() == [index.get(node, -1) for node in asked]
    assert classes.targets(classes.class_nodes).tolist() == list(range(len(classes)))


def test_arrays_are_int64_and_frozen() -> None:
    classes = ClassIndex.from_nodes(np.array([4, 2], dtype=np.int32))
    assert classes.class_nodes.dtype == classes.class_counts.dtype == np.int64
    with pytest.raises(ValueError, match="read-only"):
        classes.class_nodes[0] = 1


@pytest.mark.parametrize(
    ("nodes", "counts", "message"),
    [
        ([], [], "There is no class"),
        ([2, 2], [1, 1], "ascending"),
        ([3, 2], [1, 1], "ascending"),
        ([-1, 2], [1, 1], "ascending"),
        ([1, 2], [1, 0], "node 2 has none"),
        ([1, 2], [1], "one length"),
    ],
)
def test_what_is_no_class_index(nodes: list[int], counts: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        ClassIndex(np.array(nodes), np.array(counts))


def test_labels_outside_the_taxonomy_are_counted() -> None:
    with pytest.raises(DataError, match="2 training images have a label outside"):
        ClassIndex.from_nodes([-1, 3, -1])
