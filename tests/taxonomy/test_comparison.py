"""Every fate by hand, and that no order, no homonym and no missing rank makes a guess of it."""

from collections.abc import Sequence
from time import perf_counter

import pandas as pd

from taxonet.seeds import generator
from taxonet.taxonomy import Synonyms, Taxonomy, compare_taxonomies

RANKS = ("family", "genus", "species")


def table(*rows: Sequence[str], columns: Sequence[str] = RANKS) -> Taxonomy:
    return Taxonomy.from_table(pd.DataFrame(rows, columns=list(columns)))


def synonyms(*rows: tuple[str, str]) -> Synonyms:
    return Synonyms.from_table(pd.DataFrame(rows, columns=["name", "accepted"]))


def fates(here: Taxonomy, there: Taxonomy, words: Synonyms | None = None) -> dict[str, str]:
    """Return fate and paths of each taxon there, by its path."""
    found = compare_taxonomies(here, there, synonyms=words).counterparts
    return {one.path: " ".join((one.fate, *one.paths)) for one in found}


HERE = table(
    ("Rosaceae", "Pyrus", "Pyrus malus"),
    ("Rosaceae", "Rosa", "Rosa alba"),
    ("Rosaceae", "Rosa", "Rosa rubra"),
    ("Sterculiaceae", "Theobroma", "Theobroma cacao"),
    ("Asteraceae", "Aster", "Aster latus"),
    ("Fagaceae", "Quercus", "Quercus alba"),
)


def test_every_fate_by_hand() -> None:
    there = table(
        ("Rosaceae", "Malus", "Malus domestica"),
        ("Rosaceae", "Rosa", "rosa_ALBA"),
        ("Malvaceae", "Theobroma", "Theobroma cacao"),
        ("Asteraceae", "Aster", "Aster latus"),
        ("Asteraceae", "Nova", "Nova lata"),
        ("Fagaceae", "Quercus", "Quercus albus"),
        ("Rosaceae", "Rosa", "Rosa communis"),
    )
    words = synonyms(
        ("Pyrus malus", "Malus domestica"),
        ("Aster latus", "Aster latus"),
        ("Aster latus", "Nova lata"),
        ("Rosa alba", "Rosa alba"),
        ("Rosa rubra", "Rosa communis"),
        ("Rosa canis", "Rosa communis"),
    )
    assert fates(HERE, there, words) == {
        "Asteraceae": "matched Asteraceae",
        "Fagaceae": "matched Fagaceae",
        "Malvaceae": "missing",
        "Rosaceae": "matched Rosaceae",
        "Asteraceae/Aster": "matched Asteraceae/Aster",
        "Asteraceae/Nova": "missing",
        "Fagaceae/Quercus": "matched Fagaceae/Quercus",
        "Malvaceae/Theobroma": "moved Sterculiaceae/Theobroma",
        "Rosaceae/Malus": "missing",
        "Rosaceae/Rosa": "matched Rosaceae/Rosa",
        "Asteraceae/Aster/Aster latus": "split Asteraceae/Aster/Aster latus",
        "Asteraceae/Nova/Nova lata": "split Asteraceae/Aster/Aster latus",
        "Fagaceae/Quercus/Quercus albus": "missing",
        "Malvaceae/Theobroma/Theobroma cacao": "moved Sterculiaceae/Theobroma/Theobroma cacao",
        "Rosaceae/Malus/Malus domestica": "renamed Rosaceae/Pyrus/Pyrus malus",
        "Rosaceae/Rosa/Rosa communis": "renamed Rosaceae/Rosa/Rosa rubra",
        "Rosaceae/Rosa/rosa_ALBA": "matched Rosaceae/Rosa/Rosa alba",
    }
    found = compare_taxonomies(HERE, there, synonyms=words)
    assert found.counts == {
        "matched": 7,
        "moved": 2,
        "renamed": 2,
        "split": 2,
        "lumped": 0,
        "ambiguous": 0,
        "missing": 4,
    }
    near = {one.path: one.suggestions for one in found.counterparts if one.fate == "missing"}
    assert near["Fagaceae/Quercus/Quercus albus"] == ("Quercus alba",)
    assert near["Malvaceae"] == ()


def test_several_taxa_here_for_one_there_are_lumped_and_not_chosen_from() -> None:
    there = table(("Rosaceae", "Rosa", "Rosa alba"))
    words = synonyms(("Rosa rubra", "Rosa alba"))
    assert fates(HERE, there, words)["Rosaceae/Rosa/Rosa alba"] == (
        "lumped Rosaceae/Rosa/Rosa alba Rosaceae/Rosa/Rosa rubra"
    )
    frame = compare_taxonomies(HERE, there, synonyms=words).to_frame().set_index("label")
    assert frame.loc["Rosa alba", "path"] is None
    assert (
        frame.loc["Rosa alba", "candidates"] == "Rosaceae/Rosa/Rosa alba | Rosaceae/Rosa/Rosa rubra"
    )


def test_synonyms_read_the_same_from_both_sides() -> None:
    """What is split one way is lumped the other way, and a new name is one both ways."""
    one = table(("F", "G", "old"), ("F", "G", "a"))
    two = table(("F", "G", "p"), ("F", "G", "q"), ("F", "G", "b"))
    words = synonyms(("old", "p"), ("old", "q"), ("a", "b"))
    there, back = fates(one, two, words), fates(two, one, words)
    assert (there["F/G/p"], there["F/G/q"]) == ("split F/G/old", "split F/G/old")
    assert back["F/G/old"] == "lumped F/G/p F/G/q"
    assert (there["F/G/b"], back["F/G/a"]) == ("renamed F/G/a", "renamed F/G/b")


def test_homonyms_are_told_apart_by_their_places_and_otherwise_not_at_all() -> None:
    here = table(("Rosaceae", "Rosa", "alba"), ("Fagaceae", "Quercus", "alba"))
    same = fates(here, here)
    assert same["Rosaceae/Rosa/alba"] == "matched Rosaceae/Rosa/alba"
    assert same["Fagaceae/Quercus/alba"] == "matched Fagaceae/Quercus/alba"
    elsewhere = fates(here, table(("Moraceae", "Morus", "alba")))
    both = "ambiguous Fagaceae/Quercus/alba Rosaceae/Rosa/alba"
    assert elsewhere["Moraceae/Morus/alba"] == both
    # One here, two there: the one at another place has not moved.
    one = table(("Rosaceae", "Rosa", "alba"))
    two = fates(one, table(("Rosaceae", "Rosa", "alba"), ("Moraceae", "Morus", "alba")))
    assert two["Rosaceae/Rosa/alba"] == "matched Rosaceae/Rosa/alba"
    assert two["Moraceae/Morus/alba"] == "ambiguous Rosaceae/Rosa/alba"


def test_a_rank_is_compared_where_both_have_it() -> None:
    """Another tree may have more ranks, fewer, or a gap; a genus is no section of its name."""
    columns = ("order", "family", "genus", "section", "species")
    there = table(
        ("Rosales", "Rosaceae", "Rosa", "", "Rosa alba"),
        ("Fagales", "", "Quercus", "Pyrus", "Quercus alba"),
        columns=columns,
    )
    found = fates(HERE, there)
    assert found["Rosales"] == "missing"
    assert found["Rosales/Rosaceae/Rosa/Rosa alba"] == "matched Rosaceae/Rosa/Rosa alba"
    assert found["Fagales/Quercus/Pyrus/Quercus alba"] == "matched Fagaceae/Quercus/Quercus alba"
    assert found["Fagales/Quercus/Pyrus"] == "missing"
    assert fates(there, HERE)["Rosaceae/Pyrus"] == "missing"


def test_trees_without_ranks_are_compared_by_their_paths() -> None:
    here = Taxonomy.from_edges([("Life", "Rosa"), ("Life", "Acer"), ("Rosa", "a"), ("Acer", "b")])
    there = Taxonomy.from_edges([("All", "Rosa"), ("All", "Salix"), ("Rosa", "a"), ("Salix", "b")])
    assert fates(here, there) == {
        "Rosa": "matched Rosa",
        "Salix": "missing",
        "Rosa/a": "matched Rosa/a",
        "Salix/b": "moved Acer/b",
    }


def test_an_ancestor_by_another_name_is_no_move() -> None:
    here, there = table(("Compositae", "Aster", "a")), table(("Asteraceae", "Aster", "a"))
    assert fates(here, there)["Asteraceae/Aster/a"] == "moved Compositae/Aster/a"
    words = synonyms(("Compositae", "Asteraceae"))
    assert fates(here, there, words) == {
        "Asteraceae": "renamed Compositae",
        "Asteraceae/Aster": "matched Compositae/Aster",
        "Asteraceae/Aster/a": "matched Compositae/Aster/a",
    }


def test_the_frame_has_every_label_once_and_paths_that_lead_back() -> None:
    """Labels there speak first; where a path here reads like a label, the label is written."""
    here = Taxonomy.from_table(
        pd.DataFrame(
            [("Rosa", "Acer", "Acer x"), ("A", "Rosa", "alba"), ("B", "Betula", "")],
            columns=["label", "family", "genus"],
        )
    )
    there = Taxonomy.from_table(
        pd.DataFrame(
            [("maple", "Acer", "Acer x"), ("alba", "Betula", ""), ("q", "Rosa", "alba")],
            columns=["label", "family", "genus"],
        )
    )
    frame = compare_taxonomies(here, there).to_frame()
    assert frame["label"].is_unique
    paths = dict(zip(frame["label"], frame["path"], strict=True))
    assert paths == {
        "Acer": "Acer",
        "Betula": "Betula",
        "alba": "Betula",
        "maple": "Acer/Acer x",
        "Acer x": "Acer/Acer x",
        "q": "Rosa/alba",
        "Rosa": None,  # here this word is the label of Acer x, and nothing else writes the family
    }


def test_the_order_of_the_rows_does_not_matter() -> None:
    rows = [(f"F{k % 3}", f"G{k % 7}", f"s{k % 11}") for k in range(40)]
    words = [("s1", "s2"), ("s3", "s4"), ("s3", "s5"), ("G1", "G2")]
    there = table(*[(f"F{k % 2}", f"G{k % 5}", f"s{k % 13}") for k in range(40)])
    wanted = fates(table(*rows), there, synonyms(*words))
    assert len({fate.split()[0] for fate in wanted.values()}) >= 4
    order = generator("order of a test").permutation(40)
    shuffled = fates(table(*[rows[k] for k in order]), there, synonyms(*reversed(words)))
    assert shuffled == wanted


def test_a_summary_shows_the_first_of_each_kind() -> None:
    there = table(*[("Rosaceae", "Rosa", f"Rosa n{k}") for k in range(7)])
    lines = str(compare_taxonomies(HERE, there)).splitlines()
    assert lines[0] == "9 taxa of the other taxonomy: 2 matched, 7 missing."
    assert lines[1] == "- 'Rosaceae/Rosa/Rosa n0' is missing"
    assert lines[-1] == "- and 2 more missing"


def test_large_taxonomies_take_seconds() -> None:
    names = [(f"F{k // 500}", f"G{k // 20}", f"G{k // 20} s{k}") for k in range(20_000)]
    here = table(*names)
    there = table(*names[:15_000], *[(f, g, f"{s}x") for f, g, s in names[15_000:15_200]])
    start = perf_counter()
    found = compare_taxonomies(here, there)
    assert perf_counter() - start < 30
    assert (found.counts["matched"], found.counts["missing"]) == (15_000 + 760 + 31, 200)
