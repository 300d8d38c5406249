"""Every novelty score of one classifier, judged on taxa that its training never showed."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.open_set_data import ALL, OpenSetData
from benchmarks.scored import Scored
from taxonet.classifier import TaxonClassifier, TrainingIndex
from taxonet.data import open_images
from taxonet.data.matching import match_photos
from taxonet.inference.novelty import FittedNovelty, ViM, threshold_at_tpr
from taxonet.metrics import open_set_metrics, oscr
from taxonet.models.heads import LinearHead
from taxonet.registry import FITTED_NOVELTY_SCORES, NOVELTY_SCORES

_KNOWN_ACCEPTED = 0.95
_AT_ONCE = 4096  # training embeddings whose logits are made at a time


def measure(folder: Path, data: OpenSetData) -> dict[str, Any]:
    """Return photo counts, R@1 of known test photos, and the figures of every novelty score."""
    classifier = TaxonClassifier.load(folder)
    photos = open_images(data.known.images)
    calibration = Scored.of(classifier, photos.split("calibration"))
    known = match_photos(photos.split("test"), classifier.taxonomy, classifier.class_nodes)
    test = Scored.of(classifier, known.known)
    predicted = classifier.class_nodes[test.logits.argmax(dim=1).numpy()]
    right = predicted == known.nodes[test.readable]
    unknown = {kind: Scored.of(classifier, table) for kind, table in data.unknown.items()}
    scores = {}
    for name, novelty in novelty_scores(classifier, folder):
        of_test = novelty(test)
        threshold = threshold_at_tpr(novelty(calibration), _KNOWN_ACCEPTED)
        sides = {kind: novelty(scored) for kind, scored in unknown.items()}
        sides[ALL] = np.concatenate(list(sides.values()))
        scores[name] = {
            "threshold": threshold,
            "kinds": {
                kind: {
                    **asdict(open_set_metrics(of_test, side, threshold=threshold)),
                    "oscr": oscr(of_test, side, known_right=right),
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


class _Novelty:
    """A novelty score of a classifier, as float64 of scored photos."""

    def __init__(self, score: Any, classifier: TaxonClassifier) -> None:
        self._score, self._reading = score, classifier.reading

    def __call__(self, scored: Scored) -> np.ndarray[Any, np.dtype[np.float64]]:
        logits = self._reading.novelty_logits(scored.logits)
        found: torch.Tensor = self._score(scored.embedding, logits, 1.0)
        return found.double().numpy()


def novelty_scores(classifier: TaxonClassifier, folder: Path) -> Iterator[tuple[str, _Novelty]]:
    """Yield every registered score, those of embeddings fitted to the training photos."""
    for name in NOVELTY_SCORES.names():
        yield name, _Novelty(NOVELTY_SCORES.get(name), classifier)
    batches = _training_batches(classifier, folder)
    head = classifier.network.head
    for name in FITTED_NOVELTY_SCORES.names():
        by_angle = name == "nearest_prototype" and head.kind == "cosines"
        given = {"distance": "cosine"} if by_angle else {}
        score: FittedNovelty = FITTED_NOVELTY_SCORES.build(
            name, given, head.embedding_size, len(classifier.class_nodes)
        )
        if isinstance(score, ViM) and isinstance(head, LinearHead):
            score.set_origin(head.weight, head.bias)
        yield name, _Novelty(score.fit(batches), classifier)


@torch.inference_mode()
def _training_batches(
    classifier: TaxonClassifier, folder: Path
) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    stored = TrainingIndex(folder, wanted_by="the study of unknown taxa").read()
    head = classifier.network.head
    batches = []
    for start in range(0, len(stored.targets), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        embedding = torch.from_numpy(stored.embeddings[rows])
        logits = (head.scale * head(embedding.to(classifier.device)).float()).cpu()
        targets = torch.from_numpy(stored.targets[rows])
        batches.append((embedding, classifier.reading.novelty_logits(logits), targets))
    return batches
