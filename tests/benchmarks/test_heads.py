"""Runs of heads are resumable, fail on their own, and have equally many updates."""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import heads
from benchmarks.head_rows import ROWS, HeadRow, best_of_scikit_learn, macro_recall_of
from benchmarks.head_sets import SetOfFeatures
from taxonet.recipes import load_recipe
from taxonet.seeds import generator
from taxonet.taxonomy import Taxonomy

TAXA = ("Acer campestre", "Acer rubrum", "Quercus robur")


def features(**counts: int) -> SetOfFeatures:
    """Three species of two genera, each far from the others; the oak is rare."""
    splits = {}
    for split, count in counts.items():
        label = np.repeat(np.arange(3), [2 * count, count, count])
        noise = generator("heads", split).normal(size=(len(label), 4))
        values = (8 * np.eye(4)[label] + noise).astype(np.float32)
        splits[split] = (values, np.array(TAXA)[label])
    tree = pd.DataFrame(
        {
            "family": ["Sapindaceae", "Sapindaceae", "Fagaceae"],
            "genus": [taxon.split()[0] for taxon in TAXA],
            "species": TAXA,
        }
    )
    return SetOfFeatures(splits, Taxonomy.from_table(tree))


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    def prepared(*_: object, **__: object) -> SetOfFeatures:
        return features(train=5, val=2, test=3)  # 20 to train on: kNN tries as many

    monkeypatch.setattr(heads, "RESULTS", tmp_path)
    monkeypatch.setattr(heads, "features_of", prepared)
    few = (HeadRow("linear CE", "method/ce", ("epochs=3",)), HeadRow("kNN"))
    monkeypatch.setattr(heads, "ROWS", few)
    return argparse.Namespace(
        set="flowers102",
        data=tmp_path,
        work=tmp_path,
        seeds=[0, 1],
        rows=None,
        threads=1,
        commit=False,
    )


def test_a_seed_of_all_rows_comes_first_and_nothing_runs_twice(
    options: argparse.Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    options.seeds, options.rows = [0], ["kNN"]
    heads.run(options)
    first = heads.records("flowers102")
    assert [(one["row"], one["seed"]) for one in first] == [("kNN", 0)]

    options.seeds, options.rows = [0, 1], None
    heads.run(options)
    found = heads.records("flowers102")
    assert found[0] == first[0]
    assert [(one["row"], one["seed"]) for one in found] == [
        ("kNN", 0),
        ("linear CE", 0),
        ("linear CE", 1),
        ("kNN", 1),
    ]

    def forbidden(*_: object, **__: object) -> SetOfFeatures:
        raise AssertionError("nothing is left to run")

    monkeypatch.setattr(heads, "features_of", forbidden)
    heads.run(options)
    assert heads.records("flowers102") == found


def test_a_record_says_what_was_run(options: argparse.Namespace) -> None:
    options.seeds = [1]
    heads.run(options)
    of_taxonet, neighbours = heads.records("flowers102")
    assert of_taxonet["changes"] == ["epochs=3", "seed=1"]
    assert of_taxonet["test"]["shot_groups"]["many"] is None
    assert of_taxonet["threads"] == 1
    assert {"commit", "torch", "scikit-learn", "command", "seconds"} <= of_taxonet.keys()
    assert neighbours["choice"] == "k=1"
    assert neighbours["val_macro_recall"] == 1.0


def test_a_row_that_cannot_run_is_recorded_and_the_next_one_runs(
    options: argparse.Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    diverging = HeadRow("linear CE", "method/ce", ("epochs=3", "optimiser.learning_rate=1e30"))
    monkeypatch.setattr(heads, "ROWS", (diverging, HeadRow("kNN")))
    options.seeds = [0]
    heads.run(options)
    failed, neighbours = heads.records("flowers102")
    assert failed["error"]
    assert "test" not in failed
    assert "test" in neighbours


def test_figures_by_hand() -> None:
    given = features(train=4)  # 8, 4 and 4 training photos
    truth = np.array([TAXA[0], TAXA[0], TAXA[1], TAXA[2]])
    predicted = np.array([TAXA[0], TAXA[1], TAXA[1], TAXA[0]])
    found = heads._figures(given, truth, predicted)
    assert found["rank1"] == 0.5
    assert found["macro_recall"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert found["by_training_shares"] == pytest.approx((8 * 0.5 + 4 * 1 + 4 * 0) / 16)
    assert found["shot_groups"] == {"many": None, "medium": None, "few": pytest.approx(0.5)}
    assert found["macro_recall_genus"] == pytest.approx((1 + 0) / 2)
    assert found["macro_recall_family"] == pytest.approx((1 + 0) / 2)


def test_a_class_without_validation_photos_does_not_count() -> None:
    truth, predicted = np.array(["ash", "ash"]), np.array(["ash", "elm"])
    assert macro_recall_of(truth, predicted) == 0.5


def test_validation_chooses_the_neighbours() -> None:
    values = np.array([[1, 0.0], [1, 0.01], [1, 0.02], [1, 0.03], [0, 1], [0.01, 1]], np.float32)
    # Four elms amid twelve ashes: up to five neighbours mislead, ten do not.
    labels = np.array(["ash", "elm", "ash", "ash", "elm", "elm"])
    train = (np.repeat(values, 4, axis=0), np.repeat(labels, 4))
    val = (np.array([[1, 0.011], [0, 1]], np.float32), np.array(["ash", "elm"]))
    choice, model = best_of_scikit_learn("kNN", train, val)
    assert choice == "k=10"
    assert model.predict(val[0]).tolist() == ["ash", "elm"]


def test_all_rows_have_equally_many_updates() -> None:
    recipes = [load_recipe(row.recipe, row.changes) for row in ROWS if row.recipe]
    schedules = {repr((one.optimiser, one.schedule, one.epochs, one.batch_size)) for one in recipes}
    assert len(schedules) == 1
    assert all(one.features is not None for one in recipes)
    assert all(row.recipe for row in ROWS if row.may_be_default)
    for row in ROWS:
        if row.recipe:
            has_stage = load_recipe(row.recipe, row.changes).second_stage is not None
            assert row.may_be_default is not has_stage, row.name
