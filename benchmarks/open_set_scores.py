"""Every novelty score of one classifier, judged on taxa that its training never showed."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.open_set_data import ALL, OpenSetData
from benchmarks.scored import Scored
from taxonet.classifier import ScoredBatch, TaxonClassifier
from taxonet.data import open_images
from taxonet.data.matching import match_photos
from taxonet.evaluation.judge import NoveltyScore
from taxonet.evaluation.novelty_scores import all_novelty_scores
from taxonet.inference.novelty import threshold_at_tpr
from taxonet.metrics import open_set_metrics, oscr

_KNOWN_ACCEPTED = 0.95


def measure(folder: Path, data: OpenSetData, *, features: Path | None = None) -> dict[str, Any]:
    """Return photo counts, R@1 of known test photos, and the figures of every novelty score."""
    classifier = TaxonClassifier.load(folder, features=features)
    photos = open_images(data.known.images)
    calibration = Scored.of(classifier, photos.split("calibration"))
    known = match_photos(photos.split("test"), classifier.taxonomy, classifier.class_nodes)
    test = Scored.of(classifier, known.known)
    predicted = classifier.class_nodes[test.logits.argmax(dim=1).numpy()]
    right = predicted == known.nodes[test.readable]
    unknown = {kind: Scored.of(classifier, table) for kind, table in data.unknown.items()}
    scores = {}
    for name, score in all_novelty_scores(classifier, folder).scores.items():
        of_test = _novelty(score, test)
        threshold = threshold_at_tpr(_novelty(score, calibration), _KNOWN_ACCEPTED)
        sides = {kind: _novelty(score, scored) for kind, scored in unknown.items()}
        sides[ALL] = np.concatenate(list(sides.values()))
        scores[name] = {
            "threshold": threshold,
            "kinds": {
                kind: {
                    **open_set_metrics(of_test, side, threshold=threshold),
                    "OSCR": oscr(of_test, side, known_right=right),
                }
                for kind, side in sides.items()
            },
        }
    return {
        "classes": len(classifier.class_nodes),
        "calibration_photos": len(calibration.readable),
        "test_photos": len(test.readable),
        "unknown_photos": {kind: len(scored.readable) for kind, scored in unknown.items()},
        "rank1": float(right.mean()),
        "scores": scores,
    }


def _novelty(score: NoveltyScore, scored: Scored) -> np.ndarray[Any, np.dtype[np.float64]]:
    names = [str(row) for row in scored.readable]
    return score(ScoredBatch(names, {}, scored.embedding, scored.logits)).double().numpy()
