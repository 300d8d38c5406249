import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxonet.errors import ConfigError
from taxonet.taxonomy import Taxonomy, lies_under, taxa_named
from tests.helpers import ragged_taxonomy


@st.composite
def trees(draw: st.DrawFn) -> Taxonomy:
    parents = [-1] + [draw(st.integers(0, node - 1)) for node in range(1, draw(st.integers(1, 25)))]
    return Taxonomy.from_parents([f"n{node}" for node in range(len(parents))], parents)


@given(tree=trees(), data=st.data())
def test_lies_under_equals_a_walk_up(tree: Taxonomy, data: st.DataObject) -> None:
    tops = data.draw(st.lists(st.integers(0, len(tree) - 1), max_size=4))
    nodes = data.draw(st.lists(st.integers(0, len(tree) - 1), max_size=10))
    wanted = [any(top in tree.ancestors(node) for top in tops) for node in nodes]
    assert lies_under(tree, np.array(nodes, dtype=np.int64), tops).tolist() == wanted


def test_a_name_at_a_rank() -> None:
    tree = ragged_taxonomy()
    assert taxa_named(tree, "family=Rosaceae") == (2,)
    assert taxa_named(tree, " species = Rosa canina ") == (7,)
    with pytest.raises(ConfigError, match=r"No genus is called 'Rosaceae'\. Did you mean 'Rosa'"):
        taxa_named(tree, "genus=Rosaceae")


def test_a_tree_without_ranks_has_names_only() -> None:
    tree = Taxonomy.from_edges([("Life", "Acer"), ("Acer", "A. = B.")])
    assert taxa_named(tree, "A. = B.") == (2,)
    with pytest.raises(ConfigError, match=r"No taxon is called 'Acr'\. Did you mean 'Acer'\?"):
        taxa_named(tree, "Acr")


def test_one_name_of_two_taxa_of_a_rank_is_both() -> None:
    tree = Taxonomy.from_parents(
        ["life", "plants", "animals", "Oenanthe", "Oenanthe"],
        [-1, 0, 0, 1, 2],
        ranks=("kingdom", "genus"),
        rank=[-1, 0, 0, 1, 1],
    )
    assert len(taxa_named(tree, "genus=Oenanthe")) == 2
