"""Replies of every kind, strictly read; and names as they are written."""

import json

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxonet.benchmark.chat.names import RankNames
from taxonet.benchmark.chat.parsing import Naming, ReplyReader
from taxonet.benchmark.chat.questions import Reply
from taxonet.errors import TaxonomyError
from taxonet.taxonomy import Synonyms, Taxonomy

ROWS = [
    ("Quercus", "Quercus alba"),
    ("Quercus", "Quercus rubra"),
    ("Acer", "Acer rubrum"),
    ("Cornus", "Cornus alba"),
    ("Salix", "Salix × fragilis"),
    ("Rosa", ""),
]
TREE = Taxonomy.from_table(pd.DataFrame(ROWS, columns=["genus", "species"]))
SYNONYMS = Synonyms.from_table(
    pd.DataFrame(
        [
            ("Swida alba", "Cornus alba"),
            ("Quercus borealis", "Quercus rubra"),
            ("Rufacer", "Acer"),
            ("Quercus mixta", "Quercus alba"),
            ("Quercus mixta", "Quercus rubra"),
        ],
        columns=["name", "accepted"],
    )
)


def read(text: str, **more: object) -> Naming:
    return ReplyReader(TREE, SYNONYMS).read(Reply(text, **more))  # type: ignore[arg-type] # any


def named(genus: str | None, species: str | None) -> Naming:
    return read(json.dumps({"genus": genus, "species": species}))


def taxa(naming: Naming) -> tuple[str | None, str | None]:
    """Return the names of what is named; the row needs no reason then."""
    nodes = (naming.genus, naming.species)
    genus, species = (None if node is None else TREE.names[node] for node in nodes)
    return genus, species


@pytest.mark.parametrize(
    "text",
    [
        '{"genus": "Acer", "species": "Acer rubrum"}',
        '```json\n{"genus": "Acer", "species": "Acer rubrum"}\n```',
        'First {I} look. Then: {"species": "Acer rubrum", "genus": "Acer"}. Done {!}',
        '{"genus": "Acer", "species": "Acer rubrum", "confidence": 0.9}',
        '{"genus": "Acer", "species": "Acer rubrum"} {"genus": "Acer", "species": "Acer rubrum"}',
        '{"note": "leaves"} {"genus": "Acer", "species": "Acer rubrum"}',
        '{"genus": " ACER ", "species": "acer_rubrum"}',
        '{"genus": "Acer L.", "species": "Acer rubrum L."}',
        '{"genus": "Acer", "species": "rubrum"}',
        '{"genus": null, "species": "Acer rubrum"}',
        '{"genus": "Rufacer", "species": "Acer rubrum"}',
    ],
)
def test_an_answer_is_found_wherever_it_stands(text: str) -> None:
    found = read(text)
    assert (found.outcome, found.reason) == ("named", None)
    assert taxa(found) == ("Acer", "Acer rubrum")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the reply holds no JSON object"),
        ("This is a red maple, Acer rubrum.", "the reply holds no JSON object"),
        ('["Acer", "Acer rubrum"]', "the reply holds no JSON object"),
        ('{"genus": "Acer", "species": "Acer ru', "the reply holds no JSON object"),
        ('{"genus": "Acer", "genus": "Rosa", "species": null}', "the reply holds no JSON object"),
        ('{"genus": "Acer"}', "the JSON object in the reply has no text or null as 'species'"),
        ('{"Genus": "Acer"}', "the JSON object in the reply has no text or null as 'genus'"),
        (
            '{"genus": ["Acer"], "species": null}',
            "the JSON object in the reply has no text or null as 'genus'",
        ),
        (
            '{"genus": "Acer", "species": null} {"genus": "Rosa", "species": null}',
            "the reply holds 2 different answers",
        ),
        (
            '{"genus": "Acer", "species": "Quercus alba"}',
            "the genus is 'Acer', but the species 'Quercus alba' is of 'Quercus'",
        ),
        (
            '{"genus": "Qercus", "species": "Quercus alba"}',
            "the genus is 'Qercus', but the species 'Quercus alba' is of 'Quercus'",
        ),
    ],
)
def test_what_is_no_answer_is_a_reason(text: str, reason: str) -> None:
    assert read(text) == Naming("unparsable", reason=reason)


def test_a_reply_that_was_cut_off_says_so() -> None:
    found = read('Step 1: the leaves {"genus"', cut_off=True)
    assert found.reason == (
        "the reply holds no JSON object; it was cut off at the largest number of tokens"
    )
    # One that was cut off after its answer has one.
    assert read('{"genus": "Rosa", "species": null} and', cut_off=True).outcome == "named"


def test_a_refusal_is_no_answer_whatever_it_says() -> None:
    found = read('{"genus": "Acer", "species": null}', refusal="I cannot help")
    assert found == Naming("refused", reason="I cannot help")


@pytest.mark.parametrize("nothing", [None, "", " ", "unknown", "Unknown", "null", "N/A", "?"])
def test_saying_nothing_is_no_error(nothing: str | None) -> None:
    assert named(nothing, nothing) == Naming("abstained")
    found = named("Acer", nothing)
    assert (found.outcome, found.reason, taxa(found)) == ("named", None, ("Acer", None))


@pytest.mark.parametrize("text", ["Acer sp.", "Acer spp.", "Acer sp", "acer species"])
def test_a_species_without_its_epithet_is_none(text: str) -> None:
    assert taxa(named("Acer", text)) == ("Acer", None)
    assert named("Acer", text).reason is None


def test_a_near_miss_is_named_and_not_taken() -> None:
    found = named("Acer", "Acer rubrun")
    assert taxa(found) == ("Acer", None)
    assert found == Naming(
        "named",
        TREE.find("Acer")[0],
        reason="the species 'Acer rubrun' is not in the taxonomy (near: 'Acer rubrum')",
    )
    found = named("Acerr", None)
    assert found == Naming(
        "not in taxonomy", reason="the genus 'Acerr' is not in the taxonomy (near: 'Acer')"
    )
    both = named("Zelkova", "Zelkova serrata").reason
    assert both == (
        "the genus 'Zelkova' is not in the taxonomy; "
        "the species 'Zelkova serrata' is not in the taxonomy"
    )


def test_synonyms_lead_to_the_accepted_taxon() -> None:
    assert taxa(named("Quercus", "Quercus borealis F.Michx.")) == ("Quercus", "Quercus rubra")
    # Written under its old genus, which the tree does not have.
    assert taxa(named("Swida", "Swida alba")) == ("Cornus", "Cornus alba")
    assert named("Swida", "Swida alba").reason is None
    assert named("Acer", "Swida alba").outcome == "unparsable"
    divided = named("Quercus", "Quercus mixta")
    assert taxa(divided) == ("Quercus", None)
    assert divided.reason == (
        "the species 'Quercus mixta' could be 'Quercus/Quercus alba' or 'Quercus/Quercus rubra'"
    )


SPECIES = RankNames(TREE, "species", Synonyms())


@pytest.mark.parametrize(
    "text",
    [
        "Quercus alba L.",
        "Quercus alba Linnaeus, 1753",
        "Quercus alba (L.) Mill.",
        "Quercus alba (L.) Mill. ex DC. & Loudon f.",
        "Quercus alba d'Urv.",
        "Quercus alba van der Berg",
        "Quercus alba var. repanda Michx.",
        "Quercus alba L. f. latiloba Sarg.",
        "Quercus alba subsp. nova",
    ],
)
def test_authors_and_lower_taxa_belong_to_the_species(text: str) -> None:
    assert SPECIES.find(text).node == TREE.find("Quercus alba")[0]


@pytest.mark.parametrize(
    "text",
    [
        "Quercus alba or Quercus rubra",
        "Quercus alba and Quercus rubra",
        "Quercus alba, Quercus rubra",
        "Quercus alba / rubra",
        "Quercus alba Quercus",
        "Quercus alba × Quercus rubra",
        "Quercus alba x macrocarpa",
        "Quercus alba?",
        "Quercus alba (probably)",
        "Quercus",
        "Q. alba",
        "alba",
        "white oak",
        "",
    ],
)
def test_what_names_not_one_species_names_none(text: str) -> None:
    found = SPECIES.find(text)
    assert found.node is None
    assert "is not in the taxonomy" in str(found.reason)


def test_two_genera_are_none() -> None:
    genera = RankNames(TREE, "genus", Synonyms())
    for text in ("Acer and Rosa", "Acer & Tilia", "Acer Rosa", "Acer L., Rosa L.", "Acer or Rosa"):
        assert genera.find(text).node is None, text
    assert genera.find("Acer L.").node == TREE.find("Acer")[0]


@pytest.mark.parametrize("text", ["Salix × fragilis", "Salix x fragilis L.", "salix ×fragilis"])
def test_hybrids_are_found_by_any_sign(text: str) -> None:
    assert SPECIES.find(text).node == TREE.find("Salix × fragilis")[0]


def test_a_genus_of_two_families_has_both_in_the_reason() -> None:
    rows = pd.DataFrame([("A", "Rosa"), ("B", "Rosa")], columns=["family", "genus"])
    found = RankNames(Taxonomy.from_table(rows), "genus", Synonyms()).find("Rosa")
    assert (found.node, found.reason) == (None, "the genus 'Rosa' could be 'A/Rosa' or 'B/Rosa'")


def test_a_tree_without_species_cannot_be_read_by() -> None:
    with pytest.raises(TaxonomyError, match="no rank 'species'"):
        ReplyReader(Taxonomy.from_table(pd.DataFrame({"genus": ["Acer"]})))


@given(st.text(alphabet=st.sampled_from('{}[]":,\\ \nabgenuspci1.-null'), max_size=80))
def test_no_reply_breaks_the_reader(text: str) -> None:
    found = read(text)
    assert found.outcome in ("named", "abstained", "not in taxonomy", "unparsable")
    assert (found.reason is None) == (found.outcome in ("named", "abstained"))


@pytest.mark.timeout(20)
def test_a_hostile_reply_is_read_in_no_time() -> None:
    assert read('{"a":' * 6_000).outcome == "unparsable"
    for hostile in ("{" * 30_000, '{"' * 15_000, "{ " * 15_000):
        assert read(hostile).reason == "the reply holds no JSON object"
    assert read("{" * 30_001).reason == "the reply has 30,001 characters"
    assert named("x" * 10_000, "y " * 5_000).outcome == "not in taxonomy"
    reason = named("x" * 10_000, "Quercus alba").reason
    assert reason is not None
    assert len(reason) < 300
