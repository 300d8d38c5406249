from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from taxonet.classifier import (
    CalibrationScores,
    PredictedGroups,
    SpannedTree,
    read_calibration_scores,
    write_calibration_scores,
)
from taxonet.classifier.calibration_scores import calibration_scores_file
from taxonet.errors import CheckpointError, ConfigError
from taxonet.inference.decision import RankThresholds, RiskControlled, likely_nodes
from tests.helpers import CLASS_NODES, ragged_taxonomy

TREE, NODES = ragged_taxonomy(), np.array(CLASS_NODES)
HERE = SpannedTree.of(TREE, NODES)


def scores_of(probs: torch.Tensor, truth: list[int], known: list[bool]) -> CalibrationScores:
    return CalibrationScores(
        images=[f"{row}.jpg" for row in range(len(probs))],
        truth=np.array(truth),
        known=np.array(known),
        best_class=np.array([7] * len(probs)),
        likely=likely_nodes(probs),
    )


def sure_of_a_rose(images: int) -> torch.Tensor:
    probs = torch.zeros(images, len(TREE), dtype=torch.float64)
    probs[:, [0, 2, 4, 7]] = torch.tensor([1.0, 0.9, 0.8, 0.75], dtype=torch.float64)
    return probs


def test_they_are_read_as_they_were_written(tmp_path: Path) -> None:
    probs = sure_of_a_rose(5)
    probs[1, 1:] = 0  # a photo without any likely node
    probs[3, 7] = 0.25
    scores = scores_of(probs, [7, 4, 1, 7, 8], [True, False, True, True, True])
    write_calibration_scores(tmp_path, scores)
    again = read_calibration_scores(tmp_path, wanted_by="a test")
    assert again.images == scores.images
    for name in ("truth", "known", "best_class"):
        np.testing.assert_array_equal(getattr(again, name), getattr(scores, name))
    assert again.likely.n_images == 5
    for name in ("image", "node", "prob"):
        np.testing.assert_array_equal(getattr(again.likely, name), getattr(scores.likely, name))


def test_a_policy_is_fitted_as_on_the_probabilities_themselves(tmp_path: Path) -> None:
    probs = sure_of_a_rose(100)
    probs[60:, 7], probs[60:, 8] = 0.5, 0.0
    truth = [7] * 80 + [8] * 20
    scores = scores_of(probs, truth, [True] * 100)
    places = HERE.places(np.array(truth))
    plain = RiskControlled(0.1, 0.1).fit(HERE.probs(probs), places, HERE.tree)
    assert scores.fit(RiskControlled(0.1, 0.1), HERE).policy.found == plain.found
    assert plain.found.groups[0].threshold_prob == 0.500001
    groups = PredictedGroups.of("genus", HERE.tree, HERE.places(NODES), np.arange(1, 7))
    assert groups is not None
    rule = scores.fit(RiskControlled(0.1, 0.1), HERE, groups=groups)
    assert rule.group_by == "genus"
    assert list(rule.policy.found.groups) == [4]
    # Groups follow from what is predicted: here of the genus Acer, whatever is true.
    mistaken = replace(scores, best_class=np.full(100, 10))
    rule = mistaken.fit(RiskControlled(0.1, 0.1), HERE, groups=groups)
    assert list(rule.policy.found.groups) == [6]
    with pytest.raises(ConfigError, match="rank_thresholds has no groups"):
        scores.fit(RankThresholds({"genus": 0.5}), HERE, groups=groups)


def test_below_a_coarse_label_a_name_is_right_and_below_an_unknown_taxon_wrong() -> None:
    """All photos are called Rosa canina; of all only the genus is said to be true."""
    probs = sure_of_a_rose(100)
    coarse = scores_of(probs, [4] * 100, [True] * 100)
    unknown = scores_of(probs, [4] * 100, [False] * 100)
    found = [
        scores.fit(RiskControlled(0.1, 0.1), HERE).policy.found.groups[0].threshold_prob
        for scores in (coarse, unknown)
    ]
    assert found == [0.5, 0.750001]


def test_a_classifier_without_them_says_what_to_do(tmp_path: Path) -> None:
    write_calibration_scores(tmp_path, None)
    with pytest.raises(CheckpointError, match="--risk rests on calibration photos"):
        read_calibration_scores(tmp_path, wanted_by="--risk")
    calibration_scores_file(tmp_path).write_text("no parquet", encoding="utf-8")
    with pytest.raises(CheckpointError, match="run `taxonet calibrate` again"):
        read_calibration_scores(tmp_path, wanted_by="--risk")
