"""Heads on embeddings that are at hand as arrays."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from taxonet.classifier import TaxonClassifier
from taxonet.errors import ConfigError, DataError, TaxonomyError
from taxonet.taxonomy import Taxonomy
from taxonet.training import EmbeddingClassifier, train
from tests.small_set import config

SPECIES = np.array(["Acer rubrum", "Rosa canina", "Rosa gallica"])


def clusters(count: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    kind = np.arange(count) % 3
    return rng.normal(size=(count, 5)) + 4 * np.eye(5)[kind], SPECIES[kind]


@pytest.mark.parametrize(
    "recipe",
    [
        "quick",
        "cross_entropy",
        "method/dual-margin",
        "method/mixup",
        "method/dbm-drw",
        "method/class-balanced-sampling",
        "method/ncm",
        "method/tau-norm",
    ],
)
def test_every_kind_of_method_learns(recipe: str) -> None:
    embeddings, labels = clusters(90)
    changes = ["epochs=6", "batch_size=16", "optimiser.learning_rate=0.05"]
    model = EmbeddingClassifier(recipe, changes, device="cpu").fit(embeddings, labels)
    others, truth = clusters(60, seed=1)
    assert (model.predict(others) == truth).mean() > 0.9
    probs = model.predict_proba(others)
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
    assert model.classes_.tolist() == SPECIES.tolist()


def test_labels_may_be_nodes_of_a_tree() -> None:
    rows = [("Sapindaceae", "Acer", "Acer rubrum"), ("Rosaceae", "Rosa", "Rosa canina")]
    rows.append(("Rosaceae", "Rosa", "Rosa gallica"))
    taxonomy = Taxonomy.from_table(pd.DataFrame(rows, columns=["family", "genus", "species"]))
    embeddings, labels = clusters(60)
    model = EmbeddingClassifier(
        "method/conditional-softmax", ["epochs=8"], taxonomy=taxonomy, device="cpu"
    ).fit(embeddings, labels)
    assert (model.predict(embeddings) == labels).mean() > 0.9
    assert sorted(model.classes_) == sorted(SPECIES)
    with pytest.raises(TaxonomyError, match="Rosa rubra"):
        model.fit(embeddings, np.where(labels == "Rosa canina", "Rosa rubra", labels))


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [("method/dbm-bs", ()), ("method/smart", ("transfer.tail_shots=8",))],
)
def test_it_is_what_the_verb_trains(
    photos: Path, tmp_path: Path, recipe: str, changes: tuple[str, ...]
) -> None:
    stored = ("features={}", "model.weights=none")
    given = config(photos, tmp_path / "run", *stored, *changes, recipe=recipe)
    result = train(given)
    classifier = TaxonClassifier.load(result.classifier, device="cpu")

    def split(name: str) -> tuple[np.ndarray, list[str]]:
        table = pq.read_table(result.classifier / "index" / f"{name}.parquet").to_pandas()
        paths = [classifier.taxonomy.path_text(int(node)) for node in classifier.class_nodes]
        return np.stack(table["embedding"].to_list()), [paths[one] for one in table["class"]]

    model = EmbeddingClassifier(
        classifier.parts.recipe, taxonomy=classifier.taxonomy, device="cpu"
    ).fit(*split("training"), val=split("validation"))
    # Draws are keyed by places in the table, which are the same.
    torch.testing.assert_close(model.network.head.weight, classifier.network.head.weight)


def test_validation_chooses_the_epoch() -> None:
    embeddings, labels = clusters(60)
    wrong = np.roll(SPECIES, 1)[np.arange(60) % 3]
    changes = ["epochs=6", "optimiser.learning_rate=0.02"]
    best = EmbeddingClassifier("cross_entropy", changes).fit(
        embeddings, labels, val=(embeddings, wrong)
    )
    last = EmbeddingClassifier("cross_entropy", changes).fit(embeddings, labels)
    # The less it has learned, the more often it says what the swapped labels say.
    assert (best.predict(embeddings) == wrong).mean() >= (last.predict(embeddings) == wrong).mean()
    assert not torch.equal(best.network.head.weight, last.network.head.weight)


@pytest.mark.parametrize(
    ("embeddings", "labels", "says"),
    [
        (np.zeros((4, 2)), ["a", "b"], r"\(4, 2\) and \(2,\)"),
        (np.zeros(4), ["a"] * 4, r"\(4,\) and \(4,\)"),
        (np.full((4, 2), np.nan), ["a", "a", "b", "b"], "row 0 is not"),
        (np.zeros((4, 2)), ["a"] * 4, "Only one taxon"),
    ],
)
def test_bad_arrays_are_refused(embeddings: np.ndarray, labels: list[str], says: str) -> None:
    with pytest.raises(DataError, match=says):
        EmbeddingClassifier().fit(embeddings, labels)


def test_validation_of_unknown_labels_is_refused() -> None:
    embeddings, labels = clusters(12)
    with pytest.raises(DataError, match="without a training one"):
        EmbeddingClassifier("quick", ["epochs=1"]).fit(
            embeddings, labels, val=(embeddings[:1], ["Tilia cordata"])
        )


def test_recipes_that_learn_from_photos_are_refused() -> None:
    with pytest.raises(ConfigError, match="learns from photos"):
        EmbeddingClassifier("tiny")
