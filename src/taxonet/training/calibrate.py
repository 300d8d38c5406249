"""What calibration photos set: temperature and thresholds. No model or epoch is chosen here."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from taxonet.classifier import (
    Calibration,
    CalibrationScores,
    CalibrationSource,
    TaxonClassifier,
    lowest_classes,
    most_probable,
)
from taxonet.classifier.reading import FlatReading
from taxonet.data.ordering import keyed_order
from taxonet.data.table import ImageTable
from taxonet.inference.calibration import fit_temperature
from taxonet.inference.decision import (
    LikelyNodes,
    calibrate_threshold,
    cut_at_truth,
    likely_nodes,
    naming_curve,
)
from taxonet.progress import Progress
from taxonet.thresholds import threshold_at_tpr
from taxonet.training.data import TrainingData
from taxonet.training.photos import named_photos

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

# Where even certain names are too often wrong, only a probability that rounds to 1 is named.
_CERTAIN = 1.0

_AT_ONCE = 1024

# One number is found with few photos; thresholds and promises need all that are left. But with
# too few it says more of them than of the classifier.
_SHARE_FOR_TEMPERATURE = 4
_FEWEST_FOR_TEMPERATURE = 25
_SIDES = (True, False)  # known, unknown


@dataclass(frozen=True)
class CalibrationPhotos:
    """Labelled photos that were not trained on."""

    table: ImageTable
    nodes: IntArray
    """True node of each, ``(N,)``; of an unknown taxon the deepest ancestor that is known."""
    known: BoolArray
    """Whether its taxon is a class, ``(N,)``."""
    origin: str = ""
    """Where they come from, for the record."""
    split: str | None = None
    """Their split, if they have splits."""

    @classmethod
    def of_run(cls, data: TrainingData, *, origin: str) -> "CalibrationPhotos":
        """Return the split ``calibration`` of what a classifier was trained with."""
        table, targets = data.split("calibration")
        nodes = data.classes.class_nodes[targets.numpy()]
        return cls(table, nodes, np.ones(len(nodes), dtype=bool), origin, "calibration")


class Calibrated(NamedTuple):
    """A classifier with thresholds, and what its folder keeps of the photos that set them."""

    classifier: TaxonClassifier
    scores: CalibrationScores | None
    """None where no photo could be read."""
    logits: Tensor
    """Of the photos of ``scores``, ``(N, s)``."""


def calibrated(
    classifier: TaxonClassifier,
    *photos: CalibrationPhotos,
    novelty_score: str = "max_logit",
    known_accepted: float = 0.95,
    named_right: float = 0.95,
    batch_size: int | None = None,
    workers: int = 0,
    shown: bool = False,
) -> Calibrated:
    """Return the classifier with what calibration photos say.

    A quarter of the photos, chosen by their names, is put aside for the temperature, if 25 or more
    of it are known. The others set thresholds: a policy's promise is about photos that the
    probabilities do not depend on.

    Args:
        classifier: The trained classifier; thresholds that it has are forgotten.
        photos: Calibration photos, of one set or more.
        novelty_score: Registered novelty score that decides "unknown".
        known_accepted: Share of the known calibration photos to accept.
        named_right: Share of right names to reach among the photos that get a name.
        batch_size: Photos per forward pass; None: as the device is fastest.
        workers: Reading processes.
        shown: Show progress.

    Returns:
        The classifier without thresholds where there is no readable photo of a known taxon.
    """
    blank = Calibration(
        novelty_score=novelty_score, known_accepted=known_accepted, named_right=named_right
    )
    classifier = classifier.with_calibration(blank)
    seen = _Seen.joined(
        [_look(classifier, one, batch_size, workers, shown=shown) for one in photos]
    )
    if not seen.known.any():
        return Calibrated(classifier, None, seen.logits)
    temperature, for_thresholds = _temperature(classifier, seen)
    known_novelty = seen.novelty[seen.known]
    found = blank.model_copy(
        update={
            "images": len(seen.names),
            "source": _source(photos, seen),
            "temperature": temperature,
            "novelty_threshold": threshold_at_tpr(known_novelty, known_accepted),
        }
    )
    classifier = classifier.with_calibration(found)
    kept = seen.rows(for_thresholds)
    scores = _scores(classifier, kept)
    threshold_prob = _naming_threshold(classifier, scores, kept.novelty)
    return Calibrated(
        classifier.with_calibration(found.model_copy(update={"threshold_prob": threshold_prob})),
        scores,
        kept.logits,
    )


class _Seen(NamedTuple):
    """What the network says of the readable photos, and what is true of them."""

    names: list[str]
    logits: Tensor
    novelty: NDArray[np.float64]
    nodes: IntArray
    known: BoolArray

    @classmethod
    def joined(cls, parts: Sequence["_Seen"]) -> "_Seen":
        """Return the photos of all parts."""
        return cls(
            [name for part in parts for name in part.names],
            torch.cat([part.logits for part in parts]),
            np.concatenate([part.novelty for part in parts]),
            np.concatenate([part.nodes for part in parts]),
            np.concatenate([part.known for part in parts]),
        )

    def rows(self, chosen: BoolArray) -> "_Seen":
        """Return the chosen photos ``(N,)``."""
        return _Seen(
            [name for name, kept in zip(self.names, chosen, strict=True) if kept],
            self.logits[torch.from_numpy(chosen)],
            self.novelty[chosen],
            self.nodes[chosen],
            self.known[chosen],
        )


def _look(
    classifier: TaxonClassifier,
    photos: CalibrationPhotos,
    batch_size: int | None,
    workers: int,
    *,
    shown: bool,
) -> _Seen:
    names: list[str] = []
    logits = [torch.zeros(0, classifier.reading.columns)]
    novelty = [torch.zeros(0, dtype=torch.float64)]
    readable: list[bool] = []
    with Progress("calibrating", len(photos.table), shown=shown) as progress:
        for batch in classifier.score(
            named_photos(photos.table), batch_size=batch_size, workers=workers
        ):
            names += batch.readable
            logits.append(batch.logits)
            novelty.append(classifier.novelty(batch).double())
            readable.extend(place not in batch.broken for place in range(len(batch.names)))
            progress.advance(len(batch.names))
    good = np.array(readable, dtype=bool)
    return _Seen(
        names, torch.cat(logits), torch.cat(novelty).numpy(), photos.nodes[good], photos.known[good]
    )


def _temperature(classifier: TaxonClassifier, seen: _Seen) -> tuple[float, BoolArray]:
    """Return the temperature, and the photos that it was not found with.

    Only a softmax over classes has one; without it, or with too few photos, it is 1.
    """
    left = np.ones(len(seen.names), dtype=bool)
    used, others = (_a_quarter(seen.names, np.flatnonzero(seen.known == side)) for side in _SIDES)
    if not isinstance(classifier.reading, FlatReading) or len(used) < _FEWEST_FOR_TEMPERATURE:
        return 1.0, left
    # As many of the unknown ones, so that those that are left are mixed as they were given.
    left[used] = left[others] = False
    targets = np.searchsorted(classifier.class_nodes, seen.nodes[used])
    return fit_temperature(seen.logits[torch.from_numpy(used)], targets), left


def _a_quarter(names: Sequence[str], rows: IntArray) -> IntArray:
    """Return a quarter of the rows, chosen by the names of the photos, ascending."""
    order = keyed_order([names[row] for row in rows], "temperature")
    return np.sort(rows[order[: len(rows) // _SHARE_FOR_TEMPERATURE]])


def _scores(classifier: TaxonClassifier, seen: _Seen) -> CalibrationScores:
    lowest = lowest_classes(classifier.taxonomy, classifier.class_nodes)
    likely: list[LikelyNodes] = []
    best: list[IntArray] = []
    # A few photos at a time: of all their probabilities, only the likely ones are kept.
    for block in torch.split(seen.logits, _AT_ONCE):
        node_probs = classifier.node_probs(block)
        likely.append(likely_nodes(node_probs))
        best.append(most_probable(node_probs, lowest))
    return CalibrationScores(
        images=seen.names,
        truth=seen.nodes,
        known=seen.known,
        best_class=np.concatenate(best),
        likely=LikelyNodes.joined(likely),
    )


def _naming_threshold(
    classifier: TaxonClassifier, scores: CalibrationScores, novelty: NDArray[np.float64]
) -> float:
    calibration, taxonomy = classifier.calibration, classifier.taxonomy
    assert calibration.novelty_threshold is not None
    # Only what is not called unknown gets a name, so only that can show how right names are.
    named = scores.known & (novelty <= calibration.novelty_threshold)
    if not named.any():
        return _CERTAIN
    truth = scores.truth[named]
    likely = cut_at_truth(taxonomy, scores.likely.rows(named), truth)
    curve = naming_curve(taxonomy, likely, truth)
    threshold = calibrate_threshold(curve, accuracy=calibration.named_right)
    return _CERTAIN if threshold is None else threshold


def _source(photos: Sequence[CalibrationPhotos], seen: _Seen) -> CalibrationSource:
    truth = list(zip(seen.names, seen.nodes.tolist(), strict=True))
    return CalibrationSource(
        images=", ".join(one.origin for one in photos),
        split=photos[0].split,
        sha256=sha256(repr(truth).encode()).hexdigest(),
        unknown_images=int((~seen.known).sum()),
    )
