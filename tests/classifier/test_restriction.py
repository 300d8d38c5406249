from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from taxonet.classifier import (
    TaxonClassifier,
    classes_listed,
    classes_within,
    read_species_list,
)
from taxonet.errors import ConfigError, TaxonomyError
from taxonet.taxonomy import Taxonomy
from tests.helpers import CLASS_NODES, photo, ragged_taxonomy, tiny_parts

NODES = np.array(CLASS_NODES)
NAMES = ["Betulaceae", "Rubus", "Acer", "Rosa canina", "Rosa gallica", "Acer rubrum"]


def within(*texts: str) -> list[str]:
    allowed = classes_within(ragged_taxonomy(), NODES, texts)
    return [name for name, is_in in zip(NAMES, allowed, strict=True) if is_in]


def listed(*names: str) -> tuple[list[str], list[str]]:
    allowed, unknown = classes_listed(ragged_taxonomy(), NODES, names)
    return [name for name, is_in in zip(NAMES, allowed, strict=True) if is_in], unknown


def test_classes_at_and_below_a_taxon() -> None:
    assert within("family=Rosaceae") == ["Rubus", "Rosa canina", "Rosa gallica"]
    assert within("genus=Acer") == ["Acer", "Acer rubrum"]
    assert within(" species = Rosa canina ") == ["Rosa canina"]
    assert within("genus=Rosa", "genus=Acer") == [
        "Acer",
        "Rosa canina",
        "Rosa gallica",
        "Acer rubrum",
    ]
    assert within("species=Rubus idaeus") == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Rosaceae", "Expected rank=name, such as family=Rosaceae, got 'Rosaceae'"),
        ("family=", "Expected rank=name"),
        ("famly=Rosaceae", "no rank 'famly'. Did you mean 'family'? Its ranks: family, genus, sp"),
        ("family=Rosacea", "No family is called 'Rosacea'. Did you mean 'Rosaceae'?"),
        ("family=Rosa", "No family is called 'Rosa'. Did you mean 'Rosaceae'?"),
    ],
)
def test_a_wrong_rank_or_name_gives_the_nearest(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        within(text)
    assert says in str(error.value)


def test_names_of_a_list_allow_what_is_below_them() -> None:
    assert listed("Rosa gallica", "Sapindaceae") == (["Acer", "Rosa gallica", "Acer rubrum"], [])
    assert listed("Rosa", "Quercus robur", "Rosa canina") == (
        ["Rosa canina", "Rosa gallica"],
        ["Quercus robur"],
    )


def test_spellings_of_a_list_may_differ() -> None:
    assert listed("rosa_canina", "ACER  RUBRUM") == (["Rosa canina", "Acer rubrum"], [])


def test_a_name_of_several_taxa_allows_them_all() -> None:
    table = pd.DataFrame({"kingdom": ["Animalia", "Plantae"], "genus": ["Ficus", "Ficus"]})
    tree = Taxonomy.from_table(table)
    assert classes_listed(tree, tree.leaves, ["Ficus"])[0].tolist() == [True, True]
    assert classes_within(tree, tree.leaves, ["kingdom=Plantae"]).tolist() == [False, True]


@pytest.mark.parametrize("names", [[], ["Quercus robur"], ["Rubus idaeus"]])
def test_a_list_without_any_class_is_refused(names: list[str]) -> None:
    with pytest.raises(TaxonomyError, match=f"None of the {len(names)} names"):
        listed(*names)


def test_a_list_is_lines_of_text(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(
        '\ufeffRosa canina\r\n\n  Crataegus ×  mácrocarpa \nRosa, "the" one\n'.encode()
    )
    expected = ["Rosa canina", "Crataegus × mácrocarpa", 'Rosa, "the" one']
    assert read_species_list(path) == expected


def test_a_list_is_the_first_column_of_a_csv(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text('name,count\n"Rosa canina L., 1753",3\nNone,4\n,5\nNA,6\n', encoding="utf-8")
    assert read_species_list(path) == ["Rosa canina L., 1753", "None", "NA"]


@pytest.mark.parametrize(
    ("name", "content"),
    [("list.txt", b"Rosa\xff"), ("list.csv", b"name\nRosa\xff\n"), ("list.csv", b"")],
)
def test_a_list_that_cannot_be_read_is_named(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TaxonomyError, match=rf"The species list .*{name} cannot be read"):
        read_species_list(tmp_path / name)


def test_only_allowed_taxa_are_named_and_their_probabilities_sum_to_one(
    classifier: TaxonClassifier,
) -> None:
    images = [photo(seed) for seed in range(12)]
    allowed = classes_within(classifier.taxonomy, classifier.class_nodes, ["family=Rosaceae"])
    free = classifier.predict(images, top_k=6)
    rows = classifier.predict(images, top_k=6, allowed=allowed)
    # The photos 0, 2 and 5 look like taxa of other families.
    assert set(free["family"]) == {"Betulaceae", "Rosaceae", "Sapindaceae"}
    assert (rows["family"] == "Rosaceae").all()
    assert rows["family_probability"].to_numpy() == pytest.approx(1.0)
    assert (rows["rule"] != "unknown").all()
    named = {"Rosaceae", "Rosa", "Rubus", "Rosa canina", "Rosa gallica"}
    assert set(rows["scientificName"]) <= named
    genera = dict.fromkeys(("Rosa", "Rubus", "Acer"), 0.0)
    for place in range(1, 4):
        suffix = "" if place == 1 else f"_{place}"
        genera[rows[f"genus{suffix}"][0]] = rows[f"genus{suffix}_probability"][0]
    assert genera["Rosa"] + genera["Rubus"] == pytest.approx(1.0)
    assert genera["Acer"] == 0
    # Within what is allowed, the proportions stay.
    ratio = free["species_probability"] / free["family_probability"]
    same = free["family"].eq("Rosaceae") & free["species"].eq(rows["species"])
    assert same.sum() > 3
    assert rows["species_probability"][same].tolist() == pytest.approx(
        ratio[same].tolist(), abs=1e-5
    )


def test_without_renormalising_the_probabilities_stay(classifier: TaxonClassifier) -> None:
    images = [photo(seed) for seed in range(6)]
    allowed = classes_within(classifier.taxonomy, classifier.class_nodes, ["genus=Rosa"])
    free = classifier.predict(images)
    rows = classifier.predict(images, allowed=allowed, renormalise=False)
    assert rows["rule"].tolist() == ["unknown"] * 3 + ["leaf", "leaf", "unknown"]
    for place in (3, 4):
        for column in ("probability", "genus_probability", "species_probability"):
            assert rows[column][place] == pytest.approx(free[column][place], abs=1e-6)
    assert (rows["genus_probability"].drop([3, 4]) < 0.1).all()


def test_a_single_allowed_taxon_gets_every_photo(classifier: TaxonClassifier) -> None:
    allowed = classes_within(classifier.taxonomy, classifier.class_nodes, ["species=Rosa gallica"])
    assert allowed.sum() == 1
    rows = classifier.predict([photo(seed) for seed in range(5)], allowed=allowed)
    assert set(rows["scientificName"]) == {"Rosa gallica"}
    assert rows["probability"].to_numpy() == pytest.approx(1.0)
    assert set(rows["rule"]) == {"leaf"}


def test_taxa_that_are_out_of_question_keep_their_proportions() -> None:
    parts = tiny_parts("linear")
    parts.network.head.weight.data *= 500  # beside logits of thousands all others underflow
    extreme = TaxonClassifier(parts, device="cpu")
    (batch,) = extreme.score([("0", photo(1))])
    canina, gallica = batch.logits[0, 3:5].tolist()
    assert extreme.probabilities(batch.logits)[0, 3:5].tolist() == [0.0, 0.0]
    allowed = classes_within(extreme.taxonomy, extreme.class_nodes, ["genus=Rosa"])
    rows = extreme.predict([photo(1)], allowed=allowed, top_k=2)
    assert rows["genus_probability"].tolist() == [1.0]
    expected = 1 / (1 + np.exp(-abs(canina - gallica)))
    assert expected > 0.6
    assert rows["species_probability"].tolist() == [pytest.approx(expected, abs=1e-5)]


@pytest.mark.parametrize(
    "allowed",
    [np.zeros(6, dtype=bool), np.ones(5, dtype=bool), np.ones(6, dtype=np.int64), np.array(True)],
)
def test_a_mask_that_fits_no_class_is_refused(classifier: TaxonClassifier, allowed: Any) -> None:
    with pytest.raises(ConfigError, match="takes a bool for each of the 6 classes"):
        classifier.predict([photo(0)], allowed=allowed)
