from pathlib import Path
from time import perf_counter

import pandas as pd
import pytest

from taxonet.errors import TaxonomyError
from taxonet.taxonomy import LabelMatch, Taxonomy, UnknownName, match_labels


@pytest.fixture
def tree() -> Taxonomy:
    return Taxonomy.from_table(
        pd.DataFrame(
            {
                "label": ["Rosa", "Phildelphus", "", "", "", ""],
                "family": [
                    "Rosaceae",
                    "Hydrangeaceae",
                    "Fagaceae",
                    "Moraceae",
                    "Rosaceae",
                    "Rosaceae",
                ],
                "genus": ["Rosa", "Philadelphus", "Quercus", "Morus", "Rosa", "Rosa"],
                "species": [
                    "Rosa canina",
                    "Philadelphus sp.",
                    "alba",
                    "alba",
                    "Rosa × alba",
                    "Rosa X",
                ],
            }
        )
    )


@pytest.mark.parametrize(
    ("label", "how", "paths"),
    [
        ("Rosa", "label", ["Rosaceae/Rosa/Rosa canina"]),  # the label column comes first
        ("Quercus", "name", ["Fagaceae/Quercus"]),
        (" Rosa\u00a0canina", "name", ["Rosaceae/Rosa/Rosa canina"]),
        ("Fagaceae/Quercus/alba", "path", ["Fagaceae/Quercus/alba"]),
        ("Rosa_Canina", "spelling", ["Rosaceae/Rosa/Rosa canina"]),
        ("rosa_x_alba", "spelling", ["Rosaceae/Rosa/Rosa × alba"]),
        ("alba", "ambiguous", ["Fagaceae/Quercus/alba", "Moraceae/Morus/alba"]),
        ("Alba", "ambiguous", ["Fagaceae/Quercus/alba", "Moraceae/Morus/alba"]),
        ("Fagaceae/Morus/alba", "unmatched", []),
    ],
)
def test_how_a_label_matches(tree: Taxonomy, label: str, how: str, paths: list[str]) -> None:
    (match,) = match_labels([label], tree).matches
    assert (match.label, match.how, list(match.paths)) == (label, how, paths)
    assert [tree.path_text(node) for node in match.nodes] == paths
    assert match.found == (len(paths) == 1)


def test_what_matches_nothing_gets_suggestions_and_no_node(tree: Taxonomy) -> None:
    bare = Taxonomy.from_table(tree.to_table().drop(columns="label"))
    report = match_labels(["Phildelphus", "Zzz"], bare)
    assert report.matches == (
        LabelMatch("Phildelphus", "unmatched", (), (), ("Philadelphus",)),
        LabelMatch("Zzz", "unmatched", (), (), ()),
    )
    assert report.problems == report.matches
    assert report.unknown_names is None


def test_the_report_as_text_and_frame(tree: Taxonomy) -> None:
    report = match_labels(["alba", "Rosa", "Rosa", "Mors"], tree)
    assert str(report).splitlines() == [
        "1 of 3 labels stand for one taxon.",
        "- 'alba' could be 'Fagaceae/Quercus/alba' or 'Moraceae/Morus/alba'",
        "- 'Mors' matches nothing; near: 'Morus'",
    ]
    assert str(report.matches[1]) == "'Rosa' is 'Rosaceae/Rosa/Rosa canina' (by label)"
    assert report.to_frame().to_numpy().tolist() == [
        ["alba", "ambiguous", "Fagaceae/Quercus/alba | Moraceae/Morus/alba", ""],
        ["Rosa", "label", "Rosaceae/Rosa/Rosa canina", ""],
        ["Mors", "unmatched", "", "Morus"],
    ]


def test_a_long_report_is_cut_in_text_only(tree: Taxonomy) -> None:
    report = match_labels([f"nothing {i}" for i in range(12)], tree)
    assert str(report).splitlines()[-1] == "- and 2 more"
    assert len(report.to_frame()) == 12


def test_resolve_takes_other_spellings_but_no_guess(tree: Taxonomy) -> None:
    assert tree.resolve(["Rosa_Canina", "Phildelphus"]).tolist() == [
        tree.find("Rosa canina")[0],
        tree.find("Philadelphus sp.")[0],
    ]
    with pytest.raises(TaxonomyError, match="'alba' could be 'Fagaceae/Quercus/alba' or"):
        tree.resolve(["alba"])


def test_names_are_checked_against_the_column_of_their_rank() -> None:
    tree = Taxonomy.from_table(
        pd.DataFrame(
            {
                "order": ["Cornales", "Cornales"],
                "genus": ["Phildelphus", "Deutzia"],
                "species": ["Philadelphus lewisii", "Deutzia × rosea"],
            }
        )
    )
    reference = pd.DataFrame(
        {
            "species": ["Philadelphus lewisii", "Deutzia x rosea"],
            "genus": ["Philadelphus", "Deutzia"],
        }
    )
    report = match_labels(["Deutzia", "Philadelfus lewisii"], tree, reference=reference)
    assert report.unknown_names == (
        UnknownName("Philadelfus lewisii", "label", ("Philadelphus lewisii",)),
        UnknownName("Phildelphus", "genus", ("Philadelphus",)),
    )
    assert str(report).splitlines()[-2:] == [
        "- label 'Philadelfus lewisii' is not in the reference; near: 'Philadelphus lewisii'",
        "- genus 'Phildelphus' is not in the reference; near: 'Philadelphus'",
    ]


def test_names_without_a_rank_are_checked_against_all_columns() -> None:
    tree = Taxonomy.from_edges([("Life", "Acer"), ("Acer", "Acer mono"), ("Acer", "Acer rubra")])
    reference = pd.DataFrame({"genus": ["Acer", "Acer"], "species": ["Acer mono", "Acer rubrum"]})
    assert match_labels([], tree, reference=reference).unknown_names == (
        UnknownName("Acer rubra", "node", ("Acer rubrum",)),
    )


@pytest.mark.slow
@pytest.mark.real_data
def test_leaf_labels_against_346667_species_take_seconds(real_data: Path) -> None:
    table = pd.read_csv(real_data / "leaves" / "taxonomy.csv", dtype=str)
    tree = Taxonomy.from_table(table.drop(columns="label"))
    start = perf_counter()
    report = match_labels(
        table["label"], tree, reference=real_data / "trees" / "plant_list_accepted.csv.gz"
    )
    assert perf_counter() - start < 60
    assert report.problems == (LabelMatch("Phildelphus", "unmatched", (), (), ("Philadelphus",)),)
    assert report.unknown_names is not None
    unknown = {name.name: name for name in report.unknown_names}
    assert unknown["Acer platanoids"].suggestions[0] == "Acer platanoides"
    assert unknown["Phildelphus"].suggestions[0] == "Philadelphus"
    assert "Acer rubrum" not in unknown
