"""What calibration photos set: temperature and thresholds. No model or epoch is chosen here."""

import numpy as np
import torch

from taxonet.classifier import Calibration, TaxonClassifier
from taxonet.inference.calibration import fit_temperature
from taxonet.inference.decision import calibrate_threshold, likely_nodes, naming_curve
from taxonet.metrics.open_set import threshold_at_tpr
from taxonet.taxonomy.propagate import class_to_node_probs
from taxonet.training.data import TrainingData
from taxonet.training.photos import named_photos

# Where even certain names are too often wrong, only a probability that rounds to 1 is named.
_CERTAIN = 1.0


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
    logits, novelty = [], []
    kept: list[bool] = []
    for batch in classifier.score(named_photos(table), workers=workers):
        logits.append(batch.logits)
        novelty.append(classifier.novelty(batch))
        kept.extend(place not in batch.broken for place in range(len(batch.names)))
    if not any(kept):
        return classifier
    truth = targets[torch.tensor(kept)]
    scores = torch.cat(logits)
    found = blank.model_copy(
        update={"images": len(truth), "temperature": fit_temperature(scores, truth)}
    )
    classifier = classifier.with_calibration(found)
    node_probs = class_to_node_probs(
        classifier.taxonomy, classifier.class_nodes, classifier.probabilities(scores)
    )
    curve = naming_curve(
        classifier.taxonomy, likely_nodes(node_probs), classifier.class_nodes[truth.numpy()]
    )
    threshold = calibrate_threshold(curve, accuracy=named_right)
    return classifier.with_calibration(
        found.model_copy(
            update={
                "novelty_threshold": threshold_at_tpr(
                    np.asarray(torch.cat(novelty), dtype=np.float64), known_accepted
                ),
                "threshold_prob": _CERTAIN if threshold is None else threshold,
            }
        )
    )
