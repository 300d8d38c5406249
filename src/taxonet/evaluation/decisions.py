"""How often the decision rule names something, at which rank, and how often rightly."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from taxonet.classifier import TaxonClassifier
from taxonet.evaluation.judge import Judgement
from taxonet.evaluation.open_set import UnknownPhotos
from taxonet.inference.decision import is_on_path
from taxonet.taxonomy import Taxonomy

Figures = dict[str, Any]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class _Named(NamedTuple):
    """Photos, the nodes that were named, whether these are right, and how novel the photos are."""

    node: IntArray
    right: BoolArray
    novelty: NDArray[np.float64]

    @classmethod
    def of_known(cls, taxonomy: Taxonomy, judgement: Judgement) -> Self:
        """Judge names of photos of known taxa.

        Below a truth that is known no further a name may be right, and nothing tells.
        """
        named, truth = np.array(judgement.named), np.array(judgement.truth)
        right = is_on_path(taxonomy, named, truth) | is_on_path(taxonomy, truth, named)
        return cls(named, right, np.array(judgement.novelty))

    @classmethod
    def of_unknown(cls, taxonomy: Taxonomy, photos: UnknownPhotos) -> Self:
        """Judge names of photos of unknown taxa: below what is known of them all are wrong."""
        named = np.array(photos.judgement.named, dtype=np.int64)
        right = is_on_path(taxonomy, named, photos.nodes)
        return cls(named, right, np.array(photos.judgement.novelty))


def decision_figures(classifier: TaxonClassifier, judgement: Judgement, *, promise: str) -> Figures:
    """Judge the names of photos of known taxa.

    Args:
        classifier: Whose rule it is.
        judgement: Photos of known taxa.
        promise: What holds for these photos.
    """
    named = _Named.of_known(classifier.taxonomy, judgement)
    return _figures(classifier, named, promise=promise)


def mixed_decision_figures(
    classifier: TaxonClassifier, known: Judgement, unknown: Sequence[UnknownPhotos]
) -> Figures:
    """Judge the names of photos of known and unknown taxa together, as a rule's promise is.

    A rule promises for a mixture like that of its calibration photos, and so both shares of
    unknown taxa are returned.

    Args:
        classifier: Whose rule it is.
        known: Photos of known taxa.
        unknown: Photos of unknown taxa.
    """
    taxonomy, source = classifier.taxonomy, classifier.calibration.source
    parts = [_Named.of_known(taxonomy, known)]
    parts += [_Named.of_unknown(taxonomy, one) for one in unknown]
    named = _Named(*map(np.concatenate, zip(*parts, strict=True)))
    calibrated = 0 if source is None else source.unknown_images
    promise = classifier.naming.promise
    if not calibrated and not promise.startswith("none"):
        promise = "none: calibrated without photos of unknown taxa"
    found = sum(len(one.nodes) for one in unknown)
    return {
        "unknown_images": found,
        "unknown_share": found / len(named.node),
        "unknown_share_calibrated": calibrated / max(classifier.calibration.images, 1),
        **_figures(classifier, named, promise=promise),
    }


def _figures(classifier: TaxonClassifier, named: _Named, *, promise: str) -> Figures:
    taxonomy, calibration = classifier.taxonomy, classifier.calibration
    threshold = classifier.naming.novelty_threshold
    novel = named.novelty > (np.inf if threshold is None else threshold)
    spoken = (named.node > 0) & ~novel
    ranks = [taxonomy.rank_name(int(node)) or "none" for node in named.node[spoken]]
    return {
        "promise": promise,
        "threshold_prob": calibration.threshold_prob if classifier.parts.rule is None else None,
        "images": len(named.node),
        "flagged_unknown": int(novel.sum()),
        "nothing_named": int(((named.node == 0) & ~novel).sum()),
        "named": int(spoken.sum()),
        "named_right": float(named.right[spoken].mean()) if spoken.any() else None,
        "wrong_of_photos": float((spoken & ~named.right).mean()),
        "named_at_rank": {rank: ranks.count(rank) for rank in dict.fromkeys(ranks)},
    }
