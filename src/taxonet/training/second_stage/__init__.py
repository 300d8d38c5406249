"""Second stages: a new head on the embeddings of a trained network, whose backbone stays."""

from taxonet.training.second_stage.base import OnStep, SecondStage
from taxonet.training.second_stage.crt import ClassifierRetraining
from taxonet.training.second_stage.embeddings import CachedEmbeddings, EmbeddingSource, class_means
from taxonet.training.second_stage.lws import LearnableWeightScaling
from taxonet.training.second_stage.max_norm import MaxNorm
from taxonet.training.second_stage.ncm import NearestClassMean
from taxonet.training.second_stage.photos import PhotoEmbeddings
from taxonet.training.second_stage.prototypes import PrototypeLearning
from taxonet.training.second_stage.tau_norm import TauNormalisation
from taxonet.training.second_stage.trail import Trail

__all__ = [
    "CachedEmbeddings",
    "ClassifierRetraining",
    "EmbeddingSource",
    "LearnableWeightScaling",
    "MaxNorm",
    "NearestClassMean",
    "OnStep",
    "PhotoEmbeddings",
    "PrototypeLearning",
    "SecondStage",
    "TauNormalisation",
    "Trail",
    "class_means",
]
