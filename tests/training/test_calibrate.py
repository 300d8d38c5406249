"""What calibration photos set, on a classifier whose logits are scripted."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from taxonet.classifier import Calibration, ScoredBatch, TaxonClassifier
from taxonet.data.table import ImageTable
from taxonet.inference.calibration import fit_temperature
from taxonet.seeds import generator
from taxonet.training.calibrate import calibrated
from taxonet.training.data import TrainingData, open_training_data
from tests.helpers import tiny_parts

NAMES = ("Betulaceae", "Rubus", "Acer", "Rosa canina", "Rosa gallica", "Acer rubrum")


def classifier_of(logits: dict[str, list[float]], broken: set[str]) -> TaxonClassifier:
    """A classifier that gives each photo the logits written beside its name."""

    class Scripted(TaxonClassifier):
        def score(self, images: Any, **options: Any) -> Iterator[ScoredBatch]:
            names = [name for name, _ in images]
            for start in range(0, len(names), 7):
                part = names[start : start + 7]
                good = [name for name in part if name not in broken]
                rows = torch.tensor([logits[name] for name in good]).reshape(len(good), 6)
                lost = {i: "torn" for i, name in enumerate(part) if name in broken}
                yield ScoredBatch(part, lost, torch.zeros(len(good), 2), rows)

        def with_calibration(self, calibration: Calibration) -> TaxonClassifier:
            return Scripted(
                type(self.parts)(**{**vars(self.parts), "calibration": calibration}), device="cpu"
            )

    return Scripted(tiny_parts(), device="cpu")


def photos_of(labels: list[str]) -> TrainingData:
    """Calibration photos of these taxa, beside one training photo of every class."""
    rows = [(f"train {name}", name, "train") for name in NAMES]
    rows += [(f"photo {row}", label, "calibration") for row, label in enumerate(labels)]
    rows += [("val", "Acer", "val")]
    table = ImageTable(pd.DataFrame(rows, columns=["image", "taxon", "split"]))
    return open_training_data(table, tiny_parts().taxonomy, seed=0)


@pytest.fixture(scope="module")
def noisy() -> tuple[list[str], dict[str, list[float]]]:
    """200 photos whose logits are too sure of themselves."""
    rng = generator("calibration photos")
    truth = rng.integers(0, 6, 200)
    logits = rng.normal(0, 4, (200, 6))
    logits[np.arange(200), truth] += 8
    return [NAMES[k] for k in truth], {f"photo {i}": row.tolist() for i, row in enumerate(logits)}


def test_the_stated_shares_hold(noisy: tuple[list[str], dict[str, list[float]]]) -> None:
    labels, logits = noisy
    found = calibrated(classifier_of(logits, broken=set()), photos_of(labels))
    calibration = found.calibration
    scores = torch.tensor(list(logits.values()))
    truth = torch.tensor([NAMES.index(label) for label in labels])
    assert calibration.images == 200
    assert calibration.temperature == fit_temperature(scores, truth)
    assert calibration.temperature > 1.2
    novelty = -scores.max(dim=1).values
    assert calibration.novelty_threshold == novelty.sort().values[189].item()  # the 190th of 200
    rows = _decisions(found, scores, novelty)
    called_unknown = sum(rule == "unknown" for _, rule in rows)
    assert called_unknown >= 10
    assert sum((novelty > calibration.novelty_threshold).tolist()) == 10
    # Among the photos that the whole rule gives a name, 95 % of the names are right.
    right, named = _right_and_named(found, rows, labels)
    assert named > 100
    assert right / named >= 0.95
    assert 0.5 < calibration.threshold_prob < 1  # and the threshold had to do something for it


def test_photos_that_are_called_unknown_do_not_count_as_named() -> None:
    """They would be named rightly here, and hide that the others are not."""
    # Of all 40 names 90 % would be right, but of the 20 that are ever given only 80 % are.
    sure = [[9.0, 0.0, 0.0, 0.0, 0.0, 0.0]] * 20
    unsure = [[3.0, 0.0, 0.0, 0.0, 0.0, 0.0]] * 20
    labels = ["Betulaceae"] * 16 + ["Rubus"] * 4 + ["Betulaceae"] * 20
    logits = {f"photo {i}": row for i, row in enumerate(sure + unsure)}
    found = calibrated(
        classifier_of(logits, broken=set()), photos_of(labels), known_accepted=0.5, named_right=0.9
    )
    scores = torch.tensor(list(logits.values()))
    rows = _decisions(found, scores, -scores.max(dim=1).values)
    right, named = _right_and_named(found, rows, labels)
    assert named == 0 or right / named >= 0.9


def _decisions(
    classifier: TaxonClassifier, scores: Tensor, novelty: Tensor
) -> list[tuple[str | None, str]]:
    maker = classifier.row_maker()
    rows = maker.rows(["x"] * len(scores), classifier.node_probs(scores), novelty)
    return [(row["scientificName"], row["rule"]) for row in rows]


def _right_and_named(
    classifier: TaxonClassifier, rows: list[tuple[str | None, str]], labels: list[str]
) -> tuple[int, int]:
    taxonomy = classifier.taxonomy
    named = [(name, label) for (name, rule), label in zip(rows, labels, strict=True) if name]
    lineage = {label: taxonomy.path(taxonomy.find(label)[0]) for label in NAMES}
    # Below a label at an inner node a name may be right, and counts as the label.
    return sum(
        name in lineage[label] or label in taxonomy.path(taxonomy.find(name)[0])
        for name, label in named
    ), len(named)


def test_unreadable_photos_are_left_out(noisy: tuple[list[str], dict[str, list[float]]]) -> None:
    labels, logits = noisy
    lost = {"photo 0", "photo 6", "photo 7", "photo 199"}
    rest = [i for i in range(200) if f"photo {i}" not in lost]
    found = calibrated(classifier_of(logits, broken=lost), photos_of(labels)).calibration
    alone = calibrated(
        classifier_of({f"photo {i}": logits[f"photo {j}"] for i, j in enumerate(rest)}, set()),
        photos_of([labels[j] for j in rest]),
    ).calibration
    assert found == alone
    assert found.images == 196


@pytest.mark.parametrize("labels", [[], ["Acer", "Rubus"]])
def test_without_a_readable_photo_nothing_is_refused(labels: list[str]) -> None:
    names = {f"photo {row}" for row in range(len(labels))}
    found = calibrated(classifier_of({}, broken=names), photos_of(labels)).calibration
    assert found == Calibration()
    assert found.novelty_threshold is None
    assert (found.images, found.temperature, found.threshold_prob) == (0, 1.0, 0.5)


def test_where_even_certain_names_are_wrong_only_certainty_is_named() -> None:
    logits = {f"photo {i}": [2000.0, 0, 0, 0, 0, 0] for i in range(10)}
    found = calibrated(classifier_of(logits, set()), photos_of(["Rubus"] * 10)).calibration
    assert found.threshold_prob == 1.0
