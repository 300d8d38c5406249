import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from taxonet.errors import TaxonomyError
from taxonet.taxonomy import Taxonomy

DAHLIAS = pd.DataFrame(
    {
        "label": ["orange dahlia", "any dahlia", "sunflower", "wild rose"],
        "family": ["Asteraceae", "Asteraceae", "Asteraceae", "Rosaceae"],
        "genus": ["Dahlia", "Dahlia", "Helianthus", ""],
        "species": ["Dahlia pinnata", "Dahlia pinnata", "Helianthus annuus", "Rosa canina"],
        "cultivar": ["Orange", None, "", None],
    }
)


@pytest.fixture
def tree() -> Taxonomy:
    return Taxonomy.from_table(DAHLIAS)


def test_a_ragged_table_with_a_label_at_an_internal_node(tree: Taxonomy) -> None:
    assert tree.names == (
        *("root", "Asteraceae", "Rosaceae", "Dahlia", "Helianthus", "Rosa canina"),
        *("Dahlia pinnata", "Helianthus annuus", "Orange"),
    )
    assert tree.parent.tolist() == [-1, 0, 0, 1, 1, 2, 3, 4, 6]
    assert tree.ranks == ("family", "genus", "species", "cultivar")
    assert tree.rank.tolist() == [-1, 0, 0, 1, 1, 2, 2, 2, 3]
    assert tree.leaves.tolist() == [5, 7, 8]
    assert dict(tree.labels) == {
        "any dahlia": 6,
        "orange dahlia": 8,
        "sunflower": 7,
        "wild rose": 5,
    }


def test_ranks(tree: Taxonomy) -> None:
    assert tree.at_rank("species").tolist() == [5, 6, 7]
    assert tree.ancestor_at_rank([8, 6, 5, 1, 0], "genus").tolist() == [3, 3, -1, -1, -1]
    assert tree.ancestor_at_rank([[8], [5]], "family").tolist() == [[1], [2]]
    assert [tree.rank_name(node) for node in (0, 1, 8)] == [None, "family", "cultivar"]
    with pytest.raises(TaxonomyError, match=r"no rank 'gnus'. Did you mean 'genus'\?"):
        tree.at_rank("gnus")
    with pytest.raises(TaxonomyError, match="no rank 'order'"):
        tree.ancestor_at_rank(3, "order")


def test_paths_and_names(tree: Taxonomy) -> None:
    assert tree.path(8) == ("Asteraceae", "Dahlia", "Dahlia pinnata", "Orange")
    assert tree.path(0) == ()
    for node in range(len(tree)):
        assert tree.node(tree.path(node)) == node
        assert tree.find(tree.names[node]) == (node,)
    assert tree.find("Quercus") == ()
    with pytest.raises(TaxonomyError, match=r"Below 'Asteraceae'.*'Dalia'.*mean 'Dahlia'\?"):
        tree.node(("Asteraceae", "Dalia"))


def test_one_name_under_two_parents_is_two_nodes() -> None:
    tree = Taxonomy.from_table(
        pd.DataFrame({"genus": ["Quercus", "Morus", "Morus"], "species": ["alba", "alba", "nigra"]})
    )
    assert tree.find("alba") == (3, 5)
    assert [tree.path(node) for node in tree.find("alba")] == [
        ("Morus", "alba"),
        ("Quercus", "alba"),
    ]
    assert tree.lca(3, 5) == 0


def test_repr_is_short(tree: Taxonomy) -> None:
    assert repr(tree) == (
        "Taxonomy(9 nodes, 3 leaves, depth 4, ranks family > genus > species > cultivar, 4 labels)"
    )
    assert (
        repr(Taxonomy.from_edges([("a", "b")])) == "Taxonomy(2 nodes, 1 leaves, depth 1, no ranks)"
    )


def test_equality_and_digest_follow_all_content(tree: Taxonomy) -> None:
    assert tree == Taxonomy.from_table(DAHLIAS)
    assert hash(tree) == hash(Taxonomy.from_table(DAHLIAS))
    others = [
        Taxonomy.from_table(DAHLIAS.drop(columns="label")),
        Taxonomy.from_table(DAHLIAS.replace("Orange", "Red")),
        Taxonomy.from_table(DAHLIAS.rename(columns={"cultivar": "form"})),
        Taxonomy.from_table(DAHLIAS.replace("sunflower", "sun flower")),
        Taxonomy.from_table(DAHLIAS.iloc[:3]),
    ]
    assert len({tree.digest, *(other.digest for other in others)}) == 6
    assert tree != "root"


def test_the_digest_is_the_same_on_every_machine_and_day() -> None:
    tree = Taxonomy.from_edges([("Life", "Isoëtes")])
    assert tree.digest == ("afa2e319ba08d04b388f9211bbd50402047e71a3813cf43ec979d0ebb9ec6145")


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))]
)
def test_copies_are_equal_and_still_read_only(
    again: Callable[[Taxonomy], Taxonomy], tree: Taxonomy
) -> None:
    other = again(tree)
    assert other == tree
    assert dict(other.labels) == dict(tree.labels)
    for array in (other.parent, other.rank):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_a_taxonomy_cannot_be_changed(tree: Taxonomy) -> None:
    with pytest.raises(AttributeError):
        tree.names = ()  # type: ignore[misc]
    with pytest.raises(TypeError):
        tree.labels["new"] = 1  # type: ignore[index]


def test_from_parents_takes_any_order() -> None:
    tree = Taxonomy.from_parents(
        ["Acer rubrum", "root", " Acer"],
        [2, -1, 1],
        ranks=["genus", "species"],
        rank=[1, -1, 0],
        labels={"red  maple": 0},
    )
    assert tree.names == ("root", "Acer", "Acer rubrum")
    assert tree.rank.tolist() == [-1, 0, 1]
    assert dict(tree.labels) == {"red maple": 2}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": ["a", "b"], "parents": [-1]}, r"each of 2 names .* got \(1,\)"),
        ({"names": [], "parents": []}, "at least one"),
        ({"names": ["a", " "], "parents": [-1, 0]}, "name of node 1 is empty"),
        ({"names": ["a", "b"], "parents": [-1, 2]}, "parents are -1 to 1"),
        ({"names": ["a", "b"], "parents": [-1, 0], "rank": [-1, 0]}, "rank are -1 to -1"),
        ({"names": ["a"], "parents": [-1], "labels": {"x": -1}}, "labels are 0 to 0"),
    ],
)
def test_from_parents_refuses_what_is_no_tree(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(TaxonomyError, match=message):
        Taxonomy.from_parents(**arguments)  # type: ignore[arg-type]


def test_one_node() -> None:
    tree = Taxonomy.from_parents(["Life"], [-1])
    assert (len(tree), tree.names, tree.leaves.tolist()) == (1, ("Life",), [0])
    assert tree.resolve(["Life"]).tolist() == [0]


def test_a_deep_chain_builds_without_recursion() -> None:
    tree = Taxonomy.from_edges([(f"n{i}", f"n{i + 1}") for i in reversed(range(4999))])
    assert len(tree) == 5000
    assert tree.names[:3] == ("n0", "n1", "n2")
    assert tree.path(4999)[-1] == "n4999"
    assert Taxonomy.from_edges(tree.to_edges()) == tree


def test_resolve_lists_every_label_that_fails(tree: Taxonomy) -> None:
    assert tree.resolve(["sunflower", "Dahlia", "sunflower"]).tolist() == [7, 3, 7]
    assert tree.resolve([]).tolist() == []
    with pytest.raises(TaxonomyError) as caught:
        tree.resolve(["sunflower", "Dalia", "Zzz", "Zzz"])
    assert str(caught.value).splitlines()[:3] == [
        "2 of 3 labels do not stand for one taxon:",
        "- 'Dalia' matches nothing; near: 'Dahlia'",
        "- 'Zzz' matches nothing",
    ]


def test_importing_the_room_does_not_import_torch() -> None:
    code = "import sys, taxonet.taxonomy; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.real_data
def test_inat18_has_its_published_sizes(real_data: Path) -> None:
    tree = Taxonomy.from_edges(real_data / "trees" / "inat18.csv")
    assert (len(tree), len(tree.leaves)) == (14_036, 8_142)
    assert [level.stop - level.start for level in tree.level_slices] == [
        *(1, 6, 25, 57, 273, 1_120, 4_412, 8_142)
    ]
    assert Taxonomy.from_edges(tree.to_edges()) == tree
    assert tree.information.max() == pytest.approx(np.log2(8_142))


@pytest.mark.real_data
def test_the_plant_list_has_its_published_sizes(real_data: Path) -> None:
    tree = Taxonomy.from_table(real_data / "trees" / "plant_list_accepted.csv.gz")
    assert tree.ranks == ("family", "genus", "species")
    assert (len(tree), len(tree.leaves)) == (364_283, 346_667)
    assert [len(tree.at_rank(rank)) for rank in tree.ranks] == [642, 16_973, 346_667]
    assert len({tree.names[node] for node in tree.at_rank("genus")}) == 16_914
    random = np.random.default_rng(0)
    a, b = random.integers(0, len(tree), (2, 1_000))
    lowest = tree.lca(a, b)
    for x, y, low in zip(a.tolist(), b.tolist(), lowest.tolist(), strict=True):
        assert low == max(set(tree.ancestors(x).tolist()) & set(tree.ancestors(y).tolist()))


@pytest.mark.real_data
def test_the_leaves_table(real_data: Path) -> None:
    tree = Taxonomy.from_table(real_data / "leaves" / "taxonomy.csv")
    assert tree.ranks == ("order", "family", "genus", "species")
    assert [len(tree.at_rank(rank)) for rank in tree.ranks] == [16, 24, 34, 99]
    assert tree.leaf_count[tree.node(("Fagales", "Fagaceae", "Quercus"))] == 38
    assert tree.names[tree.labels["Phildelphus"]] == "Philadelphus sp."
    assert Taxonomy.from_table(tree.to_table()) == tree


@pytest.mark.real_data
def test_the_flowers_table_is_ragged(real_data: Path) -> None:
    tree = Taxonomy.from_table(real_data / "flowers102" / "taxonomy.csv")
    assert tree.ranks == ("order", "family", "genus", "species", "cultivar")
    assert len(tree.labels) == 102
    assert [len(tree.at_rank(rank)) for rank in ("family", "genus", "cultivar")] == [47, 94, 3]
    dahlia = tree.find("Dahlia pinnata")[0]
    assert len(tree.children(dahlia)) == 3
    assert tree.depth[tree.labels["orange dahlia"]] == 5
    assert tree.depth[tree.labels["sunflower"]] == 4
    assert Taxonomy.from_table(tree.to_table()) == tree


def test_the_tree_that_nodes_span_is_what_a_table_of_them_gives() -> None:
    table = pd.DataFrame(
        {
            "family": ["Rosaceae", "Rosaceae", "Rosaceae", "Fagaceae"],
            "genus": ["Rosa", "Rosa", "Rubus", "Quercus"],
            "species": ["Rosa canina", "Rosa gallica", "Rubus idaeus", "Quercus robur"],
            "label": ["dog rose", "French rose", "raspberry", "oak"],
        }
    )
    tree = Taxonomy.from_table(table)
    for rows in ([0], [1, 2], [3, 0], [0, 1, 2, 3]):
        nodes = [tree.labels[label] for label in table["label"][rows]]
        smaller, here = tree.spanned_by([*nodes, nodes[0]])
        assert smaller == Taxonomy.from_table(table.iloc[rows])
        assert [tree.names[node] for node in here] == list(smaller.names)


def test_nodes_may_span_inner_nodes_or_the_root_alone() -> None:
    tree = Taxonomy.from_edges([("a", "b"), ("a", "c"), ("b", "d")])
    smaller, here = tree.spanned_by([1])
    assert (smaller.names, here.tolist()) == (("a", "b"), [0, 1])
    smaller, here = tree.spanned_by([])
    assert (smaller.names, here.tolist()) == (("a",), [0])
    with pytest.raises(TaxonomyError):
        tree.spanned_by([4])
