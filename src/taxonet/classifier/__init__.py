"""TaxonClassifier: a folder that names photos."""

from taxonet.classifier.classifier import ScoredBatch, TaxonClassifier
from taxonet.classifier.embedding import embed_to_file
from taxonet.classifier.index import StoredEmbeddings, TrainingIndex, index_file
from taxonet.classifier.novelty_fitting import fit_novelty_score, with_novelty_score
from taxonet.classifier.parts import ClassifierParts
from taxonet.classifier.prediction import PredictionSummary, predict_to_file
from taxonet.classifier.restriction import classes_listed, classes_within, read_species_list
from taxonet.classifier.rows import RowMaker, levels_with_classes
from taxonet.classifier.settings import Calibration, Preprocessing
from taxonet.classifier.trail import TrailPoint, read_trail, write_trail

__all__ = [
    "Calibration",
    "ClassifierParts",
    "PredictionSummary",
    "Preprocessing",
    "RowMaker",
    "ScoredBatch",
    "StoredEmbeddings",
    "TaxonClassifier",
    "TrailPoint",
    "TrainingIndex",
    "classes_listed",
    "classes_within",
    "embed_to_file",
    "fit_novelty_score",
    "index_file",
    "levels_with_classes",
    "predict_to_file",
    "read_species_list",
    "read_trail",
    "with_novelty_score",
    "write_trail",
]
