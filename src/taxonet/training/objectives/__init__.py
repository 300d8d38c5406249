"""Objectives: what one training step computes, each a module that data parallelism wraps whole."""

from taxonet.training.objectives.base import Objective, StepOutput
from taxonet.training.objectives.choice import build_objective
from taxonet.training.objectives.classification import ClassificationObjective
from taxonet.training.objectives.contrast import ContrastObjective
from taxonet.training.objectives.embedding_transfer import EmbeddingTransferObjective
from taxonet.training.objectives.mixing import MixingObjective
from taxonet.training.objectives.transfer import TransferObjective

__all__ = [
    "ClassificationObjective",
    "ContrastObjective",
    "EmbeddingTransferObjective",
    "MixingObjective",
    "Objective",
    "StepOutput",
    "TransferObjective",
    "build_objective",
]
