"""Training: from photos and a recipe to a classifier."""

from taxonet.training.refit import RefitResult, refit
from taxonet.training.run import TrainResult, train
from taxonet.training.stopping import Interrupted, TrainingStopped

__all__ = ["Interrupted", "RefitResult", "TrainResult", "TrainingStopped", "refit", "train"]
