"""Training: from photos and a recipe to a classifier."""

from taxonet.training.embedding_classifier import EmbeddingClassifier
from taxonet.training.fit_diffusion import fit_diffusion
from taxonet.training.recalibrate import CalibrateResult, recalibrate
from taxonet.training.refit import RefitResult, refit
from taxonet.training.run import TrainResult, train
from taxonet.training.stopping import Interrupted, TrainingStopped
from taxonet.training.zero_shot import ZeroShotResult, zero_shot

__all__ = [
    "CalibrateResult",
    "EmbeddingClassifier",
    "Interrupted",
    "RefitResult",
    "TrainResult",
    "TrainingStopped",
    "ZeroShotResult",
    "fit_diffusion",
    "recalibrate",
    "refit",
    "train",
    "zero_shot",
]
