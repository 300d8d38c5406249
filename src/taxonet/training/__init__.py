"""Training: from photos and a recipe to a classifier."""

from taxonet.training.loop import Interrupted, TrainingStopped
from taxonet.training.run import TrainResult, train

__all__ = ["Interrupted", "TrainResult", "TrainingStopped", "train"]
