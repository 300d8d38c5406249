"""TaxonClassifier: a folder that names photos."""

from taxonet.classifier.classifier import ScoredBatch, TaxonClassifier
from taxonet.classifier.embedding import embed_to_file
from taxonet.classifier.index import StoredEmbeddings, TrainingIndex, index_file
from taxonet.classifier.parts import ClassifierParts
from taxonet.classifier.prediction import PredictionSummary, predict_to_file
from taxonet.classifier.restriction import classes_listed, classes_within, read_species_list
from taxonet.classifier.rows import RowMaker, levels_with_classes
from taxonet.classifier.settings import Calibration, Preprocessing
from taxonet.classifier.source_prior import (
    PriorChange,
    SourcePrior,
    implied_prior,
    prior_weights,
)
from taxonet.classifier.species_weights import read_species_weights, weights_of_classes
from taxonet.classifier.trail import TrailPoint, read_trail, write_trail

__all__ = [
    "Calibration",
    "ClassifierParts",
    "PredictionSummary",
    "Preprocessing",
    "PriorChange",
    "RowMaker",
    "ScoredBatch",
    "SourcePrior",
    "StoredEmbeddings",
    "TaxonClassifier",
    "TrailPoint",
    "TrainingIndex",
    "classes_listed",
    "classes_within",
    "embed_to_file",
    "implied_prior",
    "index_file",
    "levels_with_classes",
    "predict_to_file",
    "prior_weights",
    "read_species_list",
    "read_species_weights",
    "read_trail",
    "weights_of_classes",
    "write_trail",
]
