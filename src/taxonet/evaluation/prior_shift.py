"""Figures with class probabilities corrected for how common the classes are among the photos."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from taxonet.classifier import SourcePrior, TaxonClassifier, implied_prior, prior_weights
from taxonet.data.table import ImageTable
from taxonet.errors import DataError
from taxonet.evaluation.drawing import drawn_rows
from taxonet.evaluation.judge import CLASS_LEVEL, FloatArray, IntArray, LevelCounts, levels_of
from taxonet.inference import EstimatedPriors, estimate_priors, with_priors
from taxonet.metrics import summarise_recall
from taxonet.progress import Progress
from taxonet.taxonomy.propagate import class_to_node_probs

SAMPLE = 5000
"""Photos that priors are estimated from, at most: the probabilities of all their classes are kept
in memory."""
_MOST_CHANGED = 10


@dataclass(frozen=True)
class PriorShift:
    """How common the classes of a classifier are among other photos, without their labels."""

    source: SourcePrior
    source_priors: FloatArray
    """Share of each class behind the classifier's probabilities, ``(c,)``."""
    estimate: EstimatedPriors
    images: int
    """Photos that the estimate is from."""


def estimate_shift(
    classifier: TaxonClassifier,
    table: ImageTable,
    *,
    source: SourcePrior | None = None,
    batch_size: int | None = None,
    workers: int = 0,
    shown: bool = False,
) -> PriorShift:
    """Estimate the priors of photos from what a classifier says of them; labels are not looked at.

    Args:
        classifier: What names them.
        table: All photos, also of taxa that the classifier lacks: nobody knows which.
        source: The priors behind the classifier's probabilities; None: as its recipe implies.
        batch_size: Photos per forward pass; None: as the device is fastest.
        workers: Reading processes.
        shown: Show progress.

    Raises:
        DataError: None of the photos can be read.
    """
    chosen = np.sort(drawn_rows(table, "priors")[:SAMPLE])
    photos = ((table.name(row), table.source(row)) for row in chosen.tolist())
    probs = []
    with Progress("estimating priors", len(chosen), shown=shown) as progress:
        for batch in classifier.score(photos, batch_size=batch_size, workers=workers):
            probs.append(classifier.probabilities(batch.logits))
            progress.advance(len(batch.names))
    found = torch.cat(probs) if probs else torch.zeros(0, len(classifier.class_nodes))
    if not len(found):
        raise DataError(
            f"Priors are estimated from photos, and none of {len(chosen)} can be read (first: "
            f"{table.name(0) if len(table) else 'there is none'}). Check the paths."
        )
    prior = implied_prior(classifier.parts.recipe) if source is None else source
    weights = prior_weights(prior, classifier.class_counts)
    return PriorShift(prior, weights, estimate_priors(found, weights), len(found))


class CorrectedLevels:
    """Counts at every level with probabilities under estimated priors, a batch at a time.

    Args:
        classifier: What is judged.
        shift: The priors.
    """

    def __init__(self, classifier: TaxonClassifier, shift: PriorShift) -> None:
        self._classifier, self._shift = classifier, shift
        self.levels = levels_of(classifier)

    def add(self, rows: IntArray, truth: IntArray, probs: Tensor, node_probs: Tensor) -> None:
        """Count a batch; see `Watcher`."""
        taxonomy, class_nodes = self._classifier.taxonomy, self._classifier.class_nodes
        shift = self._shift
        probs = with_priors(probs, source=shift.source_priors, target=shift.estimate.priors)
        node_probs = class_to_node_probs(taxonomy, class_nodes, probs)
        for name, level in self.levels.items():
            level.add(level.places_of(truth), level.probs_of(name, probs, node_probs))

    def figures(self, before: dict[str, LevelCounts]) -> dict[str, Any]:
        """Return the figures of every level without and with the correction, and the priors.

        Args:
            before: The counts of the same photos with the classifier's own probabilities.
        """
        estimate = self._shift.estimate
        return {
            "source": self._shift.source,
            "images": self._shift.images,
            "iterations": estimate.iterations,
            "converged": estimate.converged,
            "priors": self._priors(),
            "levels": {
                name: {"without": _recalls(before[name]), "with": _recalls(level)}
                for name, level in self.levels.items()
            },
        }

    def _priors(self) -> dict[str, Any]:
        source, target = self._shift.source_priors, self._shift.estimate.priors.numpy()
        names = self.levels[CLASS_LEVEL].names
        order = np.argsort(-np.abs(target - source), kind="stable")[:_MOST_CHANGED]
        return {
            "total_variation": float(np.abs(target - source).sum() / 2),
            "most_changed": [
                {"taxon": names[k], "source": float(source[k]), "target": float(target[k])}
                for k in order.tolist()
            ],
        }


def _recalls(level: LevelCounts) -> dict[str, float | None]:
    found = summarise_recall(level.confusion)
    return {"rank1": found.rank1, "macro_recall": found.macro_recall}
