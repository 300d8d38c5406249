from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import TaxonomyError
from taxonet.taxonomy import Taxonomy

CELLS = st.sampled_from(["", "A", "b, c", 'd "e"', "Ünder", "NA"])


@given(st.lists(st.tuples(CELLS, CELLS, CELLS).filter(any), min_size=1, max_size=10), st.data())
def test_a_table_comes_back_equal_with_labels_at_any_depth(
    rows: list[tuple[str, ...]], data: st.DataObject
) -> None:
    frame = pd.DataFrame(rows, columns=["family", "genus", "species"])
    for rank in frame.columns:  # one path stays at one rank
        frame[rank] = [f"{rank} {name}" if name else "" for name in frame[rank]]
    bare = Taxonomy.from_table(frame)
    assert Taxonomy.from_table(bare.to_table()) == bare
    labelled = data.draw(st.lists(st.integers(1, len(bare) - 1), max_size=6))
    tree = Taxonomy.from_parents(
        bare.names,
        bare.parent,
        ranks=bare.ranks,
        rank=bare.rank,
        labels={f"label {i}": node for i, node in enumerate(labelled)},
    )
    again = Taxonomy.from_table(tree.to_table())
    assert again == tree
    assert dict(again.labels) == dict(tree.labels)


def test_the_table_has_a_row_for_each_label_and_each_leaf_without_one() -> None:
    frame = pd.DataFrame(
        {"label": ["any", "one", None], "genus": ["G", "G", "G"], "species": ["", "G a", "G b"]}
    )
    table = Taxonomy.from_table(frame).to_table()
    assert table.astype(object).where(table.notna(), None).to_numpy().tolist() == [
        ["any", "G", None],
        ["one", "G", "G a"],
        [None, "G", "G b"],
    ]
    assert list(table.columns) == ["label", "genus", "species"]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz", "t.tsv.gz", "t.parquet"])
def test_files_come_back_equal(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame({"genus": ['a "b"', "c,\td"], "species": ["x", ""], "label": ["NA", "ö"]})
    tree = Taxonomy.from_table(frame)
    tree.write_table(tmp_path / name)
    assert Taxonomy.from_table(tmp_path / name) == tree
    edges = Taxonomy.from_edges([("parent", "child"), ("child", 'it\'s, "one"'), ("child", "NA")])
    edges.write_edges(str(tmp_path / name))
    assert Taxonomy.from_edges(tmp_path / name) == edges


def test_equal_taxonomies_make_equal_files(tmp_path: Path) -> None:
    frame = pd.DataFrame({"genus": ["b", "a"]})
    Taxonomy.from_table(frame).write_table(tmp_path / "1.csv.gz")
    Taxonomy.from_table(frame.iloc[::-1]).write_table(tmp_path / "2.csv.gz")
    content = (tmp_path / "1.csv.gz").read_bytes()
    assert content == (tmp_path / "2.csv.gz").read_bytes()
    assert content[4:8] == bytes(4)  # where gzip keeps the time


def test_ranks_of_ones_own_come_back_when_they_are_named() -> None:
    frame = pd.DataFrame({"group": ["tree"], "kind": ["oak"]})
    tree = Taxonomy.from_table(frame, ranks=["group", "kind"])
    assert Taxonomy.from_table(tree.to_table(), ranks=tree.ranks) == tree


def test_repeated_names_cannot_be_an_edge_list() -> None:
    tree = Taxonomy.from_table(
        pd.DataFrame({"genus": ["Morus", "Quercus"], "species": ["alba"] * 2})
    )
    with pytest.raises(TaxonomyError, match="'alba' stands for 'Morus/alba' and 'Quercus/alba'"):
        tree.to_edges()


def test_what_a_table_cannot_hold() -> None:
    with pytest.raises(TaxonomyError, match="unwritten root 'root', but this root is 'Life'"):
        Taxonomy.from_edges([("Life", "A")]).to_table()
    with pytest.raises(TaxonomyError, match="finer than its parent's, but 'A' has not"):
        Taxonomy.from_edges([("root", "A")]).to_table()
    upside_down = Taxonomy.from_parents(
        ["root", "a", "b"], [-1, 0, 1], ranks=["genus", "species"], rank=[-1, 1, 0]
    )
    with pytest.raises(TaxonomyError, match="'a/b' has not"):
        upside_down.to_table()


def test_a_tree_of_one_node_has_nothing_to_write() -> None:
    tree = Taxonomy.from_parents(["root"], [-1])
    with pytest.raises(TaxonomyError, match="one node has no rows"):
        tree.to_table()
    with pytest.raises(TaxonomyError, match="one node has no edges"):
        tree.to_edges()


def test_a_suffix_that_is_not_known_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(TaxonomyError, match=r"format of 't\.xlsx'"):
        Taxonomy.from_edges([("a", "b")]).write_edges(tmp_path / "t.xlsx")
    assert list(tmp_path.iterdir()) == []
