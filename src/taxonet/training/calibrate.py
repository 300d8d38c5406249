"""What calibration photos set: temperature and thresholds. No model or epoch is chosen here."""

import torch
from torch import Tensor

from taxonet.classifier import Calibration, TaxonClassifier
from taxonet.classifier.reading import FlatReading
from taxonet.data.table import ImageTable
from taxonet.inference.calibration import fit_temperature
from taxonet.inference.decision import (
    LikelyNodes,
    calibrate_threshold,
    cut_at_truth,
    likely_nodes,
    naming_curve,
)
from taxonet.thresholds import threshold_at_tpr
from taxonet.training.data import TrainingData
from taxonet.training.photos import named_photos

# Where even certain names are too often wrong, only a probability that rounds to 1 is named.
_CERTAIN = 1.0

_AT_ONCE = 1024


def calibrated(
    classifier: TaxonClassifier,
    data: TrainingData,
    *,
    novelty_score: str = "max_logit",
    known_accepted: float = 0.95,
    named_right: float = 0.95,
    workers: int = 0,
) -> TaxonClassifier:
    """Return the classifier with what the calibration split says.

    Args:
        classifier: The trained classifier, with no thresholds yet.
        data: Photos and splits; the split ``calibration`` is used.
        novelty_score: Registered novelty score that decides "unknown".
        known_accepted: Share of the known calibration photos to accept.
        named_right: Share of right names to reach among the photos that get a name.
        workers: Reading processes.

    Returns:
        The same classifier where there is no readable calibration photo.
    """
    table, targets = data.split("calibration")
    blank = Calibration(
        novelty_score=novelty_score, known_accepted=known_accepted, named_right=named_right
    )
    classifier = classifier.with_calibration(blank)
    seen = _score(classifier, table, targets, workers=workers)
    if seen is None:
        return classifier
    logits, novelty, truth = seen
    novelty_threshold = threshold_at_tpr(novelty, known_accepted)
    found = blank.model_copy(
        update={
            "images": len(truth),
            "temperature": _temperature(classifier, logits, truth),
            "novelty_threshold": novelty_threshold,
        }
    )
    classifier = classifier.with_calibration(found)
    # Only what is not called unknown gets a name, so only that can show how right names are.
    accepted = novelty <= novelty_threshold
    threshold_prob = _naming_threshold(
        classifier, logits[accepted], truth[accepted], named_right=named_right
    )
    return classifier.with_calibration(found.model_copy(update={"threshold_prob": threshold_prob}))


def _score(
    classifier: TaxonClassifier, table: ImageTable, targets: Tensor, *, workers: int
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Return logits, novelty (float64) and class of the readable photos; None if none is."""
    logits, novelty = [], []
    readable: list[bool] = []
    for batch in classifier.score(named_photos(table), workers=workers):
        logits.append(batch.logits)
        novelty.append(classifier.novelty(batch).double())
        readable.extend(place not in batch.broken for place in range(len(batch.names)))
    if not any(readable):
        return None
    return torch.cat(logits), torch.cat(novelty), targets[torch.tensor(readable)]


def _temperature(classifier: TaxonClassifier, logits: Tensor, truth: Tensor) -> float:
    """Return the temperature of the softmax over classes, 1 where there is no such softmax."""
    flat = isinstance(classifier.reading, FlatReading)
    return fit_temperature(logits, truth) if flat else 1.0


def _naming_threshold(
    classifier: TaxonClassifier, logits: Tensor, truth: Tensor, *, named_right: float
) -> float:
    taxonomy, nodes = classifier.taxonomy, classifier.class_nodes[truth.numpy()]
    # A few photos at a time: of all their probabilities, only the likely ones are kept.
    blocks = [likely_nodes(classifier.node_probs(block)) for block in torch.split(logits, _AT_ONCE)]
    likely = cut_at_truth(taxonomy, LikelyNodes.joined(blocks), nodes)
    curve = naming_curve(taxonomy, likely, nodes)
    threshold = calibrate_threshold(curve, accuracy=named_right)
    return _CERTAIN if threshold is None else threshold
