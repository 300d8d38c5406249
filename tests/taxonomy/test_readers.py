import gzip
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import TaxonomyError
from taxonet.taxonomy import Taxonomy
from tests.reference.taxonomy import ordered_paths

RANKS = ["family", "genus", "species"]

# Few names, so that they repeat across parents and rows; those that sort or quote unlike letters.
NAMES = st.sampled_from(["", "Acer", "acer", "Ärmel", 'a "b", c', "Zea", "𝒜"])


def table_from(rows: Sequence[Sequence[str]]) -> pd.DataFrame:
    # A name of its own for each rank: a path that is met at two ranks is another test's matter.
    return pd.DataFrame(
        [
            [f"{name}-{rank}" if name else "" for name, rank in zip(row, RANKS, strict=True)]
            for row in rows
        ],
        columns=RANKS,
    )


@given(st.lists(st.tuples(NAMES, NAMES, NAMES).filter(any), min_size=1, max_size=12), st.randoms())
def test_a_table_gives_all_paths_in_order_whatever_the_order_of_rows_and_columns(
    rows: list[tuple[str, ...]], random: Random
) -> None:
    frame = table_from(rows)
    tree = Taxonomy.from_table(frame)
    assert [tree.path(node) for node in range(len(tree))] == ordered_paths(
        frame.to_numpy().tolist()
    )
    order = list(range(len(rows)))
    random.shuffle(order)
    columns = list(RANKS)
    random.shuffle(columns)
    assert Taxonomy.from_table(frame.iloc[order][columns]) == tree


@given(st.randoms())
def test_the_order_of_edges_does_not_matter(random: Random) -> None:
    edges = [("Life", "B"), ("Life", "A"), ("A", "d"), ("B", "c"), ("A", "é"), ("A", "d")]
    expected = ("Life", "A", "B", "d", "é", "c")
    random.shuffle(edges)
    assert Taxonomy.from_edges(edges).names == expected


def test_names_are_cleaned_and_then_equal(tmp_path: Path) -> None:
    file = tmp_path / "plants.csv"
    file.write_bytes(
        "\ufeffspecies,genus\r\n"
        '"Acer\u00a0 rubrum ",Acer\r\n'
        "Acer rubrum, Acer\r\n"
        '"Iris ""x"", the\r\nlong one",Iris\r\n'
        "Isoe\u0308tes a,Iso\u00ebtes\r\n"
        "Iso\u00ebtes a,Isoe\u0308tes\r\n"
        "\r\n".encode()
    )
    tree = Taxonomy.from_table(file)
    assert tree.names == (
        *("root", "Acer", "Iris", "Isoëtes"),
        *("Acer rubrum", 'Iris "x", the long one', "Isoëtes a"),
    )


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz", "t.tsv.gz", "t.parquet"])
def test_every_format_reads_alike(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame({"genus": ["NA", "None", "null"], "species": ["1", "nan", ""]})
    path = tmp_path / name
    if name.endswith(".parquet"):
        frame.to_parquet(path)
    else:
        text = frame.to_csv(index=False, sep="\t" if ".tsv" in name else ",").encode()
        path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    assert Taxonomy.from_table(path) == Taxonomy.from_table(frame)
    assert Taxonomy.from_table(str(path)).names == ("root", "NA", "None", "null", "1", "nan")


def test_an_empty_cell_in_the_middle_hangs_the_name_higher() -> None:
    tree = Taxonomy.from_table(
        pd.DataFrame({"order": ["Rosales"], "family": [""], "genus": [None], "species": ["Rosa x"]})
    )
    assert tree.path(2) == ("Rosales", "Rosa x")
    assert tree.rank_name(2) == "species"


def test_ranks_by_default_are_the_known_ones_coarse_to_fine() -> None:
    frame = pd.DataFrame({"Species": ["s"], "note": ["n"], "cultivar": ["c"], "FAMILY": ["f"]})
    assert Taxonomy.from_table(frame).path(3) == ("f", "s", "c")
    assert Taxonomy.from_table(frame).ranks == ("family", "species", "cultivar")


def test_ranks_and_label_by_name() -> None:
    frame = pd.DataFrame({"kind": ["pine", "oak"], "group": ["tree", "tree"], "id": [17, 4]})
    tree = Taxonomy.from_table(frame, ranks=["group", "kind"], label="id")
    assert tree.ranks == ("group", "kind")
    assert dict(tree.labels) == {"17": 3, "4": 2}


@pytest.mark.parametrize(
    ("ranks", "message"),
    [
        (["family", "gneus"], r"the table has no column 'gneus'\. Did you mean 'genus'\?"),
        (["genus", "family"], "'genus' is before 'family'"),
        (["genus", "genus"], "different rank columns.*genus, genus"),
        (["genus", "label"], "none called 'label'"),
        ([], "but got: none"),
    ],
)
def test_ranks_that_cannot_be(ranks: list[str], message: str) -> None:
    frame = pd.DataFrame({"family": ["f"], "genus": ["g"], "label": ["x"]})
    with pytest.raises(TaxonomyError, match=message):
        Taxonomy.from_table(frame, ranks=ranks)


def test_label_columns_that_cannot_be() -> None:
    frame = pd.DataFrame({"family": ["f"], "genus": ["g"], "label": ["x"]})
    with pytest.raises(TaxonomyError, match=r"no column 'lable'\. Did you mean 'label'\?"):
        Taxonomy.from_table(frame, label="lable")
    with pytest.raises(TaxonomyError, match="'genus' of the table cannot be label and rank"):
        Taxonomy.from_table(frame, label="genus")


def test_a_table_without_known_ranks_lists_its_columns() -> None:
    with pytest.raises(TaxonomyError, match=r"known rank.*but has: gattung, art\."):
        Taxonomy.from_table(pd.DataFrame({"gattung": ["Acer"], "art": ["rubrum"]}))


def test_conflicting_rows_name_both_rows_and_paths(tmp_path: Path) -> None:
    file = tmp_path / "plants.csv"
    file.write_text(
        "label,genus,species\nmaple,Acer,Acer rubrum\noak,Quercus,\nmaple,Acer,Acer rubrum\n"
        "maple,Acer,\nmaple,Acer,Acer mono\n"
    )
    with pytest.raises(TaxonomyError) as caught:
        Taxonomy.from_table(file)
    assert str(caught.value) == (
        "Conflicting rows: the label 'maple' is 'Acer/Acer rubrum' in row 2 of plants.csv, but "
        "'Acer' in row 5 of plants.csv. A label has one taxon. 1 more rows conflict."
    )


def test_repeated_rows_and_two_labels_of_one_taxon_are_fine() -> None:
    frame = pd.DataFrame({"label": ["a", "b", "a", "", None], "genus": ["Acer"] * 5})
    assert dict(Taxonomy.from_table(frame).labels) == {"a": 1, "b": 1}


def test_a_row_without_any_name_is_named(tmp_path: Path) -> None:
    file = tmp_path / "plants.csv"
    file.write_text("label,genus,species\nmaple,Acer,\nghost,\u00a0,\n,,\n")
    with pytest.raises(
        TaxonomyError, match=r"genus, species, but all.* in row 3 of plants.csv \(and 1"
    ):
        Taxonomy.from_table(file)
    frame = pd.DataFrame({"genus": ["Acer", ""]}, index=["first", "second"])
    with pytest.raises(TaxonomyError, match="row second of the table"):
        Taxonomy.from_table(frame)


def test_one_path_at_two_ranks_names_both_rows() -> None:
    frame = pd.DataFrame({"family": ["F", "F"], "genus": ["X", ""], "species": ["", "X"]})
    with pytest.raises(
        TaxonomyError,
        match=r"'F/X' stands for two nodes: genus in row 0 of the table, and species in row 1",
    ):
        Taxonomy.from_table(frame)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.csv is empty"),
        ("genus,species\n", "t.csv has no rows"),
        ("genus,species\nAcer,Acer mono\nIris,Iris a,b\n", "t.csv is not a regular table.*line 3"),
        ("genus,genus\nAcer,Acer\n", "t.csv has two columns called 'genus'"),
    ],
)
def test_files_that_are_no_table(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "t.csv"
    file.write_text(text)
    with pytest.raises(TaxonomyError, match=message):
        Taxonomy.from_table(file)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(TaxonomyError, match=r"There is no file '.*none\.csv'"):
        Taxonomy.from_table(tmp_path / "none.csv")
    latin = tmp_path / "latin.csv"
    latin.write_bytes("genus\nIsoëtes\n".encode("latin-1"))
    with pytest.raises(TaxonomyError, match=r"latin\.csv is not UTF-8 text.*Save it as UTF-8"):
        Taxonomy.from_table(latin)
    sheet = tmp_path / "plants.xlsx"
    sheet.write_bytes(b"PK")
    with pytest.raises(TaxonomyError, match=r"format of 'plants\.xlsx': expected .* \.csv"):
        Taxonomy.from_table(sheet)


def test_numbers_with_fractions_are_no_names() -> None:
    with pytest.raises(TaxonomyError, match="Column 'label' of the table holds floating-point"):
        Taxonomy.from_table(pd.DataFrame({"genus": ["Acer", "Iris"], "label": [1.0, None]}))


@pytest.mark.parametrize(
    "text",
    ["Life,A\nA,b\n", "parent,child\nLife,A\nA,b\n", "child,note,parent\nA,x,Life\nb,,A\n"],
)
def test_edge_files_with_and_without_a_header(tmp_path: Path, text: str) -> None:
    file = tmp_path / "edges.csv"
    file.write_text(text)
    assert Taxonomy.from_edges(file).names == ("Life", "A", "b")


def test_edges_from_a_frame() -> None:
    frame = pd.DataFrame({"x": ["Life"], "y": ["A, the 'first'"]})
    assert Taxonomy.from_edges(frame).names == ("Life", "A, the 'first'")


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        (
            [("a", "b"), ("b", "c"), ("c", "b2"), ("b2", "c2"), ("x", "c2")],
            "'c2' has two parents: 'b2' in row 4 .*, and 'x' in row 5",
        ),
        ([("a", "b"), ("c", "c")], "'c' is its own parent in row 2"),
        ([("a", "b"), ("c", "d")], r"2 nodes have no parent: 'a' \(row 1 .*\), 'c' \(row 2"),
        (
            [("a", "b"), ("c", "d"), ("d", "e"), ("e", "c")],
            "'c' -> 'd' -> 'e' -> 'c' is one.* in row 4",
        ),
        ([("a", "b"), ("b", "a")], "'a' -> 'b' -> 'a' is one .*'a' first gets a parent in row 2"),
        ([("a", "b"), ("a", " ")], "name of the child is empty in row 2"),
        ([("a", "b"), ("", "c")], "name of the parent is empty in row 2"),
        ([("a", "b", "c")], "no edge list: .*it has 3"),
        ([], "has no rows"),
    ],
)
def test_edges_that_are_no_tree(edges: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(TaxonomyError, match=message):
        Taxonomy.from_edges(edges)


def test_edge_errors_count_the_rows_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "edges.csv"
    file.write_text("parent,child\nLife,A\nLife,B\nB,A\n")
    with pytest.raises(
        TaxonomyError, match=r"'Life' in row 2 of edges.csv, and 'B' in row 4 of edges"
    ):
        Taxonomy.from_edges(file)
    file.write_text("Life,A\nLife,B\nB,A\n")
    with pytest.raises(
        TaxonomyError, match=r"'Life' in row 1 of edges.csv, and 'B' in row 3 of edges"
    ):
        Taxonomy.from_edges(file)


def test_a_file_is_an_edge_list_or_a_table_by_its_header(tmp_path: Path) -> None:
    edges, table = tmp_path / "edges.csv", tmp_path / "table.csv"
    edges.write_text("parent,child\nLife,Plantae\nPlantae,Acer\n", encoding="utf-8")
    table.write_text("label,genus,species\nx,Acer,Acer rubrum\n", encoding="utf-8")
    assert Taxonomy.from_file(edges).names == ("Life", "Plantae", "Acer")
    assert Taxonomy.from_file(table).labels == {"x": 2}
    edges.write_text("parent,child\nLife,Plantae\nPlantae,Life\n", encoding="utf-8")
    with pytest.raises(TaxonomyError, match="cycle"):
        Taxonomy.from_file(edges)
