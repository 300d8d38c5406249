"""Which ancestor of an unknown taxon is known, against a walk up the tree."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxonet.classifier.reading import FlatReading
from taxonet.data.matching import deepest_nodes
from taxonet.data.table import ImageTable
from taxonet.evaluation.novelty_strata import novelty_strata, strata_in_order
from taxonet.taxonomy import Taxonomy
from tests.helpers import CLASS_NODES, ragged_taxonomy

SPECIES = "unknown species of a known genus"
GENUS = "unknown genus of a known family"


def table_of(labels: list[str | None], **columns: list[str | None]) -> ImageTable:
    images = [f"{i}.jpg" for i in range(len(labels))]
    return ImageTable(pd.DataFrame({"image": images, "taxon": labels, **columns}))


def strata(table: ImageTable, class_nodes: tuple[int, ...] = CLASS_NODES) -> list[str]:
    return novelty_strata(table, FlatReading(ragged_taxonomy(), np.array(class_nodes)))


def test_a_held_out_taxon_is_known_as_far_as_its_relatives_are() -> None:
    """Only Acer rubrum and Rosa canina have photos: of Betulaceae nothing is known."""
    labels: list[str | None] = ["French rose", "Rubus idaeus", "maple", "birch", "Ilex", None]
    assert strata(table_of(labels), (7, 10)) == [SPECIES, GENUS, SPECIES, "other", "other", "other"]


def test_a_class_above_is_a_known_ancestor() -> None:
    assert strata(table_of(["Rubus idaeus"])) == [SPECIES]  # the class is the genus Rubus


def test_a_path_that_leaves_the_tree_counts_as_far_as_it_goes() -> None:
    labels: list[str | None] = [
        "Rosaceae/Rosa/Rosa nova",
        "Rosaceae/Novarosa/Novarosa prima",
        " Rosaceae / Rosa /Rosa nova",
        "Novaceae/Rosa/Rosa nova",
        "Rosa/Rosa nova",
    ]
    assert strata(table_of(labels)) == [SPECIES, GENUS, SPECIES, "other", "other"]


def test_columns_of_ranks_tell_of_labels_that_the_tree_does_not_have() -> None:
    table = table_of(
        ["Rosa nova", "Prunus nova", "Ilex nova", "Rubus idaeus"],
        genus=["Rosa", "Prunus", None, "Rosa"],
        family=["Sapindaceae", "Rosaceae", "Aquifoliaceae", "Rosaceae"],
    )
    assert deepest_nodes(table, ragged_taxonomy()).tolist() == [4, 2, 0, 9]
    assert strata(table) == [SPECIES, GENUS, "other", SPECIES]


def test_a_column_name_of_two_taxa_says_nothing() -> None:
    tree = Taxonomy.from_table(
        pd.DataFrame(
            {
                "kingdom": ["Plantae", "Animalia"],
                "genus": ["Oenanthe", "Oenanthe"],
                "species": ["Oenanthe crocata", "Oenanthe oenanthe"],
            }
        )
    )
    table = table_of(["Oenanthe nova"], genus=["Oenanthe"], kingdom=["Plantae"])
    assert tree.names[int(deepest_nodes(table, tree)[0])] == "Plantae"


@st.composite
def trees(draw: st.DrawFn) -> Taxonomy:
    parents = [-1] + [draw(st.integers(0, node - 1)) for node in range(1, draw(st.integers(2, 20)))]
    return Taxonomy.from_parents([f"n{node}" for node in range(len(parents))], parents)


@given(tree=trees(), data=st.data())
def test_the_stratum_equals_a_walk_up(tree: Taxonomy, data: st.DataObject) -> None:
    nodes = st.integers(1, len(tree) - 1) if len(tree) > 1 else st.just(0)
    classes = sorted(data.draw(st.sets(nodes, min_size=1, max_size=5)))
    photos = data.draw(st.lists(nodes, min_size=1, max_size=8))
    table = table_of([tree.names[node] for node in photos])
    found = novelty_strata(table, FlatReading(tree, np.array(classes)))
    for node, stratum in zip(photos, found, strict=True):
        known = [
            above
            for above in tree.ancestors(node).tolist()
            if any(above in tree.ancestors(one) for one in classes)
        ]
        depth = len(tree.ancestors(known[0])) - 1  # ancestors go from the node up
        assert stratum == (
            "other" if depth == 0 else f"unknown taxon of a known one at depth {depth}"
        )
    order = strata_in_order(tree, found)
    assert sorted(order) == sorted(set(found))
    depths = [int(one.split()[-1]) if one != "other" else 0 for one in order]
    assert depths == sorted(depths, reverse=True)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_strata_are_shown_from_near_to_far(order: tuple[int, ...]) -> None:
    all_three = ["other", SPECIES, GENUS]
    assert strata_in_order(ragged_taxonomy(), [all_three[k] for k in order]) == [
        SPECIES,
        GENUS,
        "other",
    ]
