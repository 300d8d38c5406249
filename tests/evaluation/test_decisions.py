"""Names of photos of known and unknown taxa together, by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from taxonet.classifier import Calibration, CalibrationSource, TaxonClassifier
from taxonet.classifier.decision_rule import DecisionRule
from taxonet.evaluation import evaluate
from taxonet.inference.decision import RiskControlled
from taxonet.recipes.verbs import EvaluateConfig
from tests.evaluation.conftest import Script, write_table
from tests.helpers import tiny_parts

LOGITS = {
    "rose.jpg": [0.0, 0, 0, 20, 0, 0],  # Rosa canina: right
    "bramble.jpg": [0.0, 20, 0, 0, 0, 0],  # Rubus instead of Acer: wrong
    "new_rose.jpg": [0.0, 0, 0, 9, 9, 0],  # named Rosa: right for a new rose
    "sure_rose.jpg": [0.0, 0, 0, 20, 0, 0],  # named Rosa canina: wrong for a new rose
    "new_family.jpg": [20.0, 0, 0, 0, 0, 0],  # named Betulaceae: wrong for what is no taxon
    "odd.jpg": [0.0, 0, 0, 0, 0, 0],  # no taxon reaches the threshold
}
KNOWN = [("rose.jpg", "Rosa canina"), ("bramble.jpg", "Acer")]
UNKNOWN = [
    ("new_rose.jpg", "Rosaceae/Rosa/Rosa nova"),
    ("sure_rose.jpg", "Rosaceae/Rosa/Rosa nova"),
    ("new_family.jpg", "Quercus"),
    ("odd.jpg", "Quercus"),
    ("torn.jpg", "Quercus"),
]


def save(folder: Path, unknown_images: int, *, policy: RiskControlled | None = None) -> Path:
    source = CalibrationSource(
        images="c.csv", split=None, sha256="5f", unknown_images=unknown_images
    )
    calibration = Calibration(images=10, source=source, threshold_prob=0.6, novelty_threshold=0.5)
    parts = replace(tiny_parts(), calibration=calibration)
    if policy is not None:
        classifier = TaxonClassifier(parts, device="cpu")
        tree = classifier.reading.tree
        probs = np.eye(len(tree))
        probs[:, 0] = 1
        policy.fit(torch.from_numpy(probs), np.arange(len(tree)), tree)
        parts = replace(parts, rule=DecisionRule(policy, source=source))
    TaxonClassifier(parts, device="cpu").save(folder)
    return folder


def test_a_name_of_an_unknown_taxon_is_right_above_it_only(tmp_path: Path, script: Script) -> None:
    classifier = save(tmp_path / "classifier", 3)
    script(LOGITS)
    found = evaluate(
        EvaluateConfig(
            classifier=classifier,
            images=write_table(tmp_path / "t.csv", KNOWN),
            unknown=write_table(tmp_path / "u.csv", UNKNOWN),
            device="cpu",
        )
    )
    assert found.metrics["test_and_unknown"] == {
        "unknown_images": 4,
        "unknown_share": pytest.approx(4 / 6),
        "unknown_share_calibrated": 0.3,
        "promise": "none: chosen for 95% right names on 10 calibration photos",
        "threshold_prob": 0.6,
        "images": 6,
        "flagged_unknown": 0,
        "nothing_named": 1,
        "named": 5,
        "named_right": pytest.approx(2 / 5),
        "wrong_of_photos": pytest.approx(3 / 6),
        "named_at_rank": {"species": 2, "genus": 2, "family": 1},
    }
    # The photos of known taxa alone are as they were.
    assert found.metrics["test"]["decision"]["named_right"] == 0.5


@pytest.mark.parametrize(
    ("unknown_images", "promise"),
    [
        (4, "at most 50 % of photos wrong, with confidence 50 %"),
        (0, "none: calibrated without photos of unknown taxa"),
    ],
)
def test_a_promise_holds_for_what_it_was_made_for(
    tmp_path: Path, script: Script, unknown_images: int, promise: str
) -> None:
    classifier = save(tmp_path / "classifier", unknown_images, policy=RiskControlled(0.5, 0.5))
    script(LOGITS)
    found = evaluate(
        EvaluateConfig(
            classifier=classifier,
            images=write_table(tmp_path / "t.csv", KNOWN),
            unknown=write_table(tmp_path / "u.csv", UNKNOWN),
            device="cpu",
        )
    )
    assert found.metrics["test_and_unknown"]["promise"] == promise
    # Of photos of known taxa, a rule that was fitted to both says what it says.
    assert found.metrics["test"]["decision"]["promise"].startswith("at most 50 %")


def test_without_unknown_taxa_nothing_is_mixed(tmp_path: Path, script: Script) -> None:
    classifier = save(tmp_path / "classifier", 4)
    script(LOGITS)
    images = write_table(tmp_path / "t.csv", KNOWN)
    found = evaluate(EvaluateConfig(classifier=classifier, images=images, device="cpu"))
    assert "test_and_unknown" not in found.metrics
