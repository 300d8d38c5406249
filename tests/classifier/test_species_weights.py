"""Weights of a species list as priors: by hand, and in every way that a list can be."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from taxonet.classifier import (
    PriorChange,
    TaxonClassifier,
    predict_to_file,
    prior_weights,
    read_species_weights,
    weights_of_classes,
)
from taxonet.errors import ConfigError, TaxonomyError
from taxonet.recipes.verbs import PredictConfig
from tests.helpers import CLASS_NODES, photo, ragged_taxonomy, save_photo, tiny_parts
from tests.reference.prior_shift import slow_with_priors

NODES = np.array(CLASS_NODES)
#: Of Betulaceae, Rubus, Acer, Rosa canina, Rosa gallica, Acer rubrum.
SOURCE = np.array([0.1, 0.2, 0.1, 0.3, 0.1, 0.2])


def weighed(weights: Mapping[str, float]) -> list[float]:
    found = weights_of_classes(ragged_taxonomy(), NODES, weights, source=SOURCE)
    return [round(value, 9) for value in found.tolist()]


def test_weights_go_to_classes_and_are_divided_among_those_below() -> None:
    assert weighed({"Rubus": 3, "rosa_canina": 5}) == [0, 3, 0, 5, 0, 0]
    assert weighed({"Rosa": 8}) == [0, 0, 0, 6, 2, 0]  # as 0.3 is to 0.1
    assert weighed({"Acer": 3, "Acer rubrum": 4}) == [0, 0, 1, 0, 0, 2 + 4]
    assert weighed({"Rosaceae": 6, "Rosa gallica": 1}) == [0, 2, 0, 3, 2, 0]
    assert weighed({"Rosa canina": 1, "ROSA_canina": 2, "Quercus": 9}) == [0, 0, 0, 3, 0, 0]


@pytest.mark.parametrize("weights", [{}, {"Quercus": 1.0}, {"Rosa": 0.0}, {"Rubus idaeus": 2.0}])
def test_a_list_without_weight_for_any_class_is_refused(weights: dict[str, float]) -> None:
    with pytest.raises(TaxonomyError, match=f"None of the {len(weights)} names"):
        weighed(weights)


def test_a_table_of_weights(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("name,n\nRosa  canina,3\nRubus,0.5\nRosa canina,4\n,7\n", encoding="utf-8-sig")
    assert read_species_weights(path, "n") == {"Rosa canina": 7.0, "Rubus": 0.5}


@pytest.mark.parametrize(
    ("text", "error", "complaint"),
    [
        ("name,count\nRosa,1\n", ConfigError, r"no column 'counts'. Did you mean 'count'\?"),
        ("name,counts\nRosa,1\nRubus,many\n", TaxonomyError, "'Rubus' in row 3 .* is 'many'"),
        ("name,counts\nRosa,-1\n", TaxonomyError, "'Rosa' in row 2 .* is '-1'"),
        ("name,counts\nRosa,inf\n", TaxonomyError, "'inf'"),
        ("", TaxonomyError, "cannot be read as a CSV"),
    ],
)
def test_a_table_that_cannot_be_used(
    tmp_path: Path, text: str, error: type[Exception], complaint: str
) -> None:
    path = tmp_path / "list.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(error, match=complaint):
        read_species_weights(path, "counts")


@pytest.fixture
def classifier() -> TaxonClassifier:
    return TaxonClassifier(tiny_parts(), device="cpu")


def by_hand(classifier: TaxonClassifier, target: list[float]) -> list[list[float]]:
    batches = classifier.score((str(k), photo(k)) for k in range(6))
    probs = [row for batch in batches for row in classifier.probabilities(batch.logits).tolist()]
    return slow_with_priors(probs, classifier.class_counts.tolist(), target)


def test_rows_are_made_of_the_corrected_probabilities(classifier: TaxonClassifier) -> None:
    target = [0.0, 5.0, 1.0, 20.0, 1.0, 0.0]
    priors = PriorChange(prior_weights("counts", classifier.class_counts), np.array(target))
    rows = classifier.predict([photo(k) for k in range(6)], priors=priors, batch_size=4)
    wanted = by_hand(classifier, target)
    for row, probs in zip(rows.itertuples(), wanted, strict=True):
        assert row.family_probability == pytest.approx(
            max(probs[1] + probs[3] + probs[4], probs[2]), abs=1e-5
        )
        assert row.species_probability == pytest.approx(max(probs[3:5]), abs=1e-5)
    both = np.array([True, True, True, False, True, True])
    rows = classifier.predict([photo(3)], priors=priors, allowed=both)
    probs = by_hand(classifier, [0.0, 5.0, 1.0, 0.0, 1.0, 0.0])[3]
    assert rows["species"].tolist() == ["Rosa gallica"]
    assert rows["species_probability"].tolist() == [pytest.approx(probs[4], abs=1e-5)]


def test_priors_do_not_go_with_everything(classifier: TaxonClassifier) -> None:
    priors = PriorChange(np.ones(6), np.ones(6))
    with pytest.raises(ConfigError, match="sum to 1"):
        classifier.predict([photo(0)], priors=priors, renormalise=False)


def test_predict_takes_a_list_with_weights(tmp_path: Path, classifier: TaxonClassifier) -> None:
    classifier.save(tmp_path / "classifier")
    photos = [str(save_photo(tmp_path / f"{k}.png", k)) for k in range(6)]
    listed = tmp_path / "list.csv"
    listed.write_text("name,n\nRosa,8\nRubus,2\nQuercus,5\n", encoding="utf-8")
    config = PredictConfig(
        classifier=tmp_path / "classifier",
        images=tuple(photos),
        out=tmp_path / "rows.csv",
        species_list=listed,
        list_weights="n",
        device="cpu",
    )
    summary = predict_to_file(config)
    assert summary.notes[-1] == (
        f"Probabilities are as if 3 taxa were as common as n in {listed} says, and not as the "
        "classifier has them (counts; see --source-prior)."
    )
    rows = pd.read_csv(tmp_path / "rows.csv")
    # Rosa has 4 and 5 training photos of its two species.
    wanted = by_hand(classifier, [0, 2, 0, 8 * 4 / 9, 8 * 5 / 9, 0])
    for probability, probs in zip(rows["species_probability"], wanted, strict=True):
        assert probability == pytest.approx(max(probs[3:5]), abs=1e-5)
    even = config.model_copy(update={"source_prior": "uniform", "out": tmp_path / "even.csv"})
    predict_to_file(even)
    other = pd.read_csv(tmp_path / "even.csv")
    assert other["species_probability"].tolist() != rows["species_probability"].tolist()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"list_weights": "n"}, "give --species-list"),
        ({"list_weights": "n", "species_list": "s.csv", "renormalise": False}, "sum to 1"),
        ({"source_prior": "counts", "species_list": "s.csv"}, "give --list-weights"),
    ],
)
def test_options_without_their_partner_are_refused(
    options: dict[str, object], complaint: str
) -> None:
    given = {"classifier": "c", "images": ("a.jpg",), **options}
    with pytest.raises(ValueError, match=complaint):
        PredictConfig.model_validate(given)
