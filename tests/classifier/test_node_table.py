from collections.abc import Iterator
from itertools import islice

from taxonet.classifier.node_table import NODE_COLUMNS, node_lines
from taxonet.classifier.rows import NODE_PROBS, Row
from taxonet.taxonomy import Taxonomy
from tests.helpers import ragged_taxonomy


def test_a_line_for_each_node_of_each_row() -> None:
    rows: list[Row] = [
        {"image": "a.jpg", "rule": "leaf", NODE_PROBS: [(2, 0.75), (4, 0.5), (7, 0.25)]},
        {"image": "broken.jpg", "rule": "unreadable"},
        {"image": "b.jpg", "rule": "unknown", NODE_PROBS: []},
        {"image": "a.jpg", "rule": "leaf", NODE_PROBS: [(1, 0.125)]},
    ]
    lines = list(node_lines(rows, ragged_taxonomy()))
    assert [list(line) for line in lines] == [NODE_COLUMNS] * 4
    assert [tuple(line.values()) for line in lines] == [
        ("a.jpg", "Rosaceae", "family", "Rosaceae", 0.75),
        ("a.jpg", "Rosa", "genus", "Rosaceae/Rosa", 0.5),
        ("a.jpg", "Rosa canina", "species", "Rosaceae/Rosa/Rosa canina", 0.25),
        ("a.jpg", "Betulaceae", "family", "Betulaceae", 0.125),
    ]


def test_a_tree_without_ranks_has_none() -> None:
    tree = Taxonomy.from_edges([("top", "a"), ("a", "b")])
    (line,) = node_lines([{"image": "a.jpg", NODE_PROBS: [(2, 1.0)]}], tree)
    assert (line["taxonRank"], line["path"]) == (None, "a/b")


def test_rows_are_read_one_at_a_time() -> None:
    def endless() -> Iterator[Row]:
        while True:
            yield {"image": "a.jpg", NODE_PROBS: [(1, 0.5)]}

    assert len(list(islice(node_lines(endless(), ragged_taxonomy()), 3))) == 3
