from math import log2, sqrt
from pathlib import Path

import numpy as np
import pytest
import torch

from taxonet.errors import ConfigError, DataError
from taxonet.taxonomy import Taxonomy
from taxonet.training.covariance import (
    prototype_similarity,
    read_similarity,
    similarity,
    taxonomy_similarity,
)


@pytest.fixture
def tree() -> Taxonomy:
    """root > A (a, b, c), B (d), and the leaf E: nodes 0 root, 1 A, 2 B, 3 E, 4 to 6 abc, 7 d."""
    names = ["root", "A", "B", "E", "a", "b", "c", "d"]
    return Taxonomy.from_parents(names, [-1, 0, 0, 0, 1, 1, 1, 2])


def test_cosines_of_prototypes_by_hand() -> None:
    prototypes = torch.tensor([[1.0, 1.0], [0.0, 0.0], [2.0, 0.0], [0.0, -5.0]], requires_grad=True)
    block = prototype_similarity(prototypes, [0, 1], [2, 3])
    np.testing.assert_allclose(block, [[1 / sqrt(2), -1 / sqrt(2)], [0.0, 0.0]], rtol=1e-6)


def test_lin_by_hand(tree: Taxonomy) -> None:
    # Five leaves. a and b meet in A, of information log2(5/3); d and a meet in the root.
    block = taxonomy_similarity(tree, [4, 5, 7, 1, 2], [0], [1, 2, 3, 4])
    under_a = log2(5 / 3)
    expected = [under_a / log2(5), 0.0, 2 * under_a / (log2(5) + under_a), 0.0]
    np.testing.assert_allclose(block, [expected], rtol=1e-6)
    # B and its only leaf d tell the same.
    assert taxonomy_similarity(tree, [7, 2], [0], [1]).item() == 1


def test_depth_by_hand(tree: Taxonomy) -> None:
    block = taxonomy_similarity(tree, [4, 5, 1, 3, 0], [0, 4], [1, 2, 3], by="depth")
    np.testing.assert_allclose(block, [[0.5, 2 / 3, 0.0], [0.0, 0.0, 0.0]], rtol=1e-6)


@pytest.mark.parametrize("pairs", [1, 3, 2**20])
@pytest.mark.parametrize("by", ["information", "depth"])
def test_equals_the_loop_in_blocks_of_any_size(
    tree: Taxonomy, by: str, pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(similarity, "BLOCK_PAIRS", pairs)
    nodes, tail, head = [0, 1, 3, 4, 5, 6, 7], [5, 0, 2], [1, 3, 4, 6]
    values = tree.information if by == "information" else tree.depth
    block = taxonomy_similarity(
        tree, nodes, tail, head, by="depth" if by == "depth" else "information"
    )
    for row, t in enumerate(tail):
        for column, h in enumerate(head):
            ours, theirs = (tree.ancestors(nodes[k]).tolist() for k in (t, h))
            lowest = next(node for node in ours if node in theirs)
            whole = values[nodes[t]] + values[nodes[h]]
            expected = 2 * values[lowest] / whole if whole else 0.0
            assert block[row, column] == pytest.approx(expected, rel=1e-6)


def test_another_measure_is_refused(tree: Taxonomy) -> None:
    with pytest.raises(ConfigError, match="by must be 'information' or 'depth', but is 'names'"):
        taxonomy_similarity(tree, [4, 5], [0], [1], by="names")  # type: ignore[arg-type] # wrong


def test_a_file_in_class_order(tmp_path: Path) -> None:
    matrix = np.arange(9.0).reshape(3, 3)
    np.save(tmp_path / "given.npy", matrix)
    block = read_similarity(tmp_path / "given.npy", ["x", "y", "z"], [2, 0], [1])
    assert block.tolist() == [[7], [1]]
    with pytest.raises(DataError, match=r"each two of 2 classes, but its shape is \(3, 3\)"):
        read_similarity(tmp_path / "given.npy", ["x", "y"], [0], [1])


def test_a_table_in_any_order(tmp_path: Path) -> None:
    table = tmp_path / "given.csv"
    table.write_text("name,z,x,7\nx,0.1,1.0,0.3\n7,0.4,0.3,1\nz,1,0.1,0.4\n", encoding="utf-8")
    block = read_similarity(table, ["x", "7", "z"], [2, 1], [0, 1])
    np.testing.assert_allclose(block, [[0.1, 0.4], [0.3, 1]], rtol=1e-6)
    with pytest.raises(DataError, match=r"columns of .* lack 1 classes, such as \['w'\]"):
        read_similarity(table, ["x", "w", "z"], [2], [1])
    with pytest.raises(DataError, match=r"rows of .* lack 1 classes, such as \['w'\]"):
        read_similarity(table, ["x", "w", "z"], [1], [0])
    table.write_text("name,x,z\nx,1,0\nx,1,0\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"rows of .* hold 'x' more than once"):
        read_similarity(table, ["x", "z"], [0], [1])


def test_another_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is read from a \.npy or \.csv file"):
        read_similarity(tmp_path / "given.json", ["x", "y"], [0], [1])
