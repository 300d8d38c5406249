"""What calibration photos set, on a classifier whose logits are scripted."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from taxonet.classifier import Calibration, DecisionRule, ScoredBatch, TaxonClassifier
from taxonet.data.table import ImageTable
from taxonet.inference.calibration import fit_temperature
from taxonet.seeds import generator
from taxonet.training.calibrate import CalibrationPhotos, calibrated
from taxonet.training.data import open_training_data
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

        def with_calibration(
            self, calibration: Calibration, rule: DecisionRule | None = None
        ) -> TaxonClassifier:
            parts = replace(self.parts, calibration=calibration, rule=rule)
            return Scripted(parts, device="cpu")

    return Scripted(tiny_parts(), device="cpu")


def photos_of(labels: list[str], rows: list[int] | None = None) -> CalibrationPhotos:
    """Calibration photos of these taxa, beside one training photo of every class."""
    chosen = range(len(labels)) if rows is None else rows
    table = [(f"train {name}", name, "train") for name in NAMES]
    table += [(f"photo {row}", labels[row], "calibration") for row in chosen]
    table += [("val", "Acer", "val")]
    frame = pd.DataFrame(table, columns=["image", "taxon", "split"])
    data = open_training_data(ImageTable(frame), tiny_parts().taxonomy, seed=0)
    return CalibrationPhotos.of_run(data, origin="split.csv")


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
    found, kept, _ = calibrated(classifier_of(logits, broken=set()), photos_of(labels))
    calibration = found.calibration
    scores = torch.tensor(list(logits.values()))
    truth = torch.tensor([NAMES.index(label) for label in labels])
    assert calibration.images == 200
    # A quarter of the photos sets the temperature, and the thresholds rest on the others.
    assert kept is not None
    used = [i for i in range(200) if f"photo {i}" not in set(kept.images)]
    assert len(used) == 50
    assert calibration.temperature == fit_temperature(scores[used], truth[used])
    assert calibration.temperature > 1.2
    novelty = -scores.max(dim=1).values
    assert calibration.novelty_threshold == novelty.sort().values[189].item()  # the 190th of 200
    rows = _decisions(found, scores, novelty)
    called_unknown = sum(rule == "unknown" for _, rule in rows)
    assert called_unknown >= 10
    assert sum((novelty > calibration.novelty_threshold).tolist()) == 10
    # Among the photos that the whole rule gives a name, 95 % of the names are right.
    rest = [i for i in range(200) if i not in used]
    right, named = _right_and_named(found, [rows[i] for i in rest], [labels[i] for i in rest])
    assert named > 75
    assert right / named >= 0.95
    assert 0.5 < calibration.threshold_prob < 1  # and the threshold had to do something for it


def test_too_few_photos_set_no_temperature(noisy: tuple[list[str], dict[str, list[float]]]) -> None:
    labels, logits = noisy
    for images, has_one in ((99, False), (100, True)):
        photos = photos_of(labels, list(range(images)))
        found, kept, _ = calibrated(classifier_of(logits, broken=set()), photos)
        assert (found.calibration.temperature != 1.0) == has_one
        assert kept is not None
        assert len(kept.images) == (75 if has_one else 99)


def test_known_and_unknown_photos_stay_mixed_as_they_were(
    noisy: tuple[list[str], dict[str, list[float]]],
) -> None:
    labels, logits = noisy
    known = photos_of(labels, list(range(160)))
    rest = photos_of(labels, list(range(160, 200)))
    strangers = replace(rest, known=np.zeros(40, dtype=bool), nodes=np.zeros(40, dtype=np.int64))
    found, kept, _ = calibrated(classifier_of(logits, broken=set()), known, strangers)
    assert kept is not None
    assert (int(kept.known.sum()), int((~kept.known).sum())) == (120, 30)
    alone = calibrated(classifier_of(logits, broken=set()), known).classifier
    assert found.calibration.temperature == alone.calibration.temperature


def test_photos_that_are_called_unknown_do_not_count_as_named() -> None:
    """They would be named rightly here, and hide that the others are not."""
    # Of all 40 names 90 % would be right, but of the 20 that are ever given only 80 % are.
    sure = [[9.0, 0.0, 0.0, 0.0, 0.0, 0.0]] * 20
    unsure = [[3.0, 0.0, 0.0, 0.0, 0.0, 0.0]] * 20
    labels = ["Betulaceae"] * 16 + ["Rubus"] * 4 + ["Betulaceae"] * 20
    logits = {f"photo {i}": row for i, row in enumerate(sure + unsure)}
    found, kept, _ = calibrated(
        classifier_of(logits, broken=set()), photos_of(labels), known_accepted=0.5, named_right=0.9
    )
    assert kept is not None
    scores = torch.tensor(list(logits.values()))
    rows = _decisions(found, scores, -scores.max(dim=1).values)
    rest = [i for i in range(40) if f"photo {i}" in kept.images]
    right, named = _right_and_named(found, [rows[i] for i in rest], [labels[i] for i in rest])
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
    found, kept, _ = calibrated(classifier_of(logits, broken=lost), photos_of(labels))
    alone, same, _ = calibrated(classifier_of(logits, set()), photos_of(labels, rest))
    assert found.calibration == alone.calibration
    assert kept is not None
    assert same is not None
    assert kept.images == same.images
    assert found.calibration.images == 196


@pytest.mark.parametrize("labels", [[], ["Acer", "Rubus"]])
def test_without_a_readable_photo_nothing_is_refused(labels: list[str]) -> None:
    names = {f"photo {row}" for row in range(len(labels))}
    classifier, kept, _ = calibrated(classifier_of({}, broken=names), photos_of(labels))
    found = classifier.calibration
    assert (found, kept) == (Calibration(), None)
    assert classifier.naming.promise == "none: not calibrated"
    assert found.novelty_threshold is None
    assert (found.images, found.temperature, found.threshold_prob) == (0, 1.0, 0.5)


def test_where_even_certain_names_are_wrong_only_certainty_is_named() -> None:
    logits = {f"photo {i}": [2000.0, 0, 0, 0, 0, 0] for i in range(10)}
    found = calibrated(classifier_of(logits, set()), photos_of(["Rubus"] * 10)).classifier
    assert found.calibration.threshold_prob == 1.0
