"""Scores that say how likely an image shows a taxon the classifier does not know.

Every score has one signature and one orientation: ``(embedding, scores, scale) -> novelty``,
and higher is more novel. An image is accepted as known if and only if its novelty is at most
a threshold found on calibration images.

Shapes and units of every score: ``embedding`` float ``(B, d)``, before normalisation; ``scores``
float ``(B, c)``, logits or cosines without margin or prior; ``scale`` the factor that turns them
into logits (1 for a linear head). The result is float32 ``(B,)``, float64 for float64 input.

Scores of outputs are functions (`NOVELTY_SCORES`); scores that are fitted to the embeddings of
training images first are modules (`FITTED_NOVELTY_SCORES`, `FittedNovelty`). Those over a taxonomy
give one column a level, ``(B, L)``.
"""

from taxonet.inference.novelty.fitted import EmbeddingBatches, FittedNovelty
from taxonet.inference.novelty.knn import NearestNeighbours
from taxonet.inference.novelty.levels import novelty_by_level
from taxonet.inference.novelty.mahalanobis import Mahalanobis
from taxonet.inference.novelty.moments import EmbeddingMoments
from taxonet.inference.novelty.nearest_prototype import NearestPrototype
from taxonet.inference.novelty.nearest_taxon import NearestTaxon
from taxonet.inference.novelty.outputs import (
    embedding_norm,
    energy,
    entropy,
    max_logit,
    max_softmax,
)
from taxonet.inference.novelty.relative_mahalanobis import RelativeMahalanobis
from taxonet.inference.novelty.vim import ViM
from taxonet.thresholds import threshold_at_tpr

__all__ = [
    "EmbeddingBatches",
    "EmbeddingMoments",
    "FittedNovelty",
    "Mahalanobis",
    "NearestNeighbours",
    "NearestPrototype",
    "NearestTaxon",
    "RelativeMahalanobis",
    "ViM",
    "embedding_norm",
    "energy",
    "entropy",
    "max_logit",
    "max_softmax",
    "novelty_by_level",
    "threshold_at_tpr",
]
