"""TaxonClassifier: a folder that names photos."""

from taxonet.classifier.adapter import adapter_of
from taxonet.classifier.beside import copy_beside
from taxonet.classifier.calibration_scores import (
    CalibrationScores,
    read_calibration_scores,
    write_calibration_scores,
)
from taxonet.classifier.classifier import TaxonClassifier
from taxonet.classifier.deciding import DecisionSummary, decide_from_file
from taxonet.classifier.decision_rule import DecisionRule, read_rule, write_rule
from taxonet.classifier.embedder import Embedder, StoredPhotos
from taxonet.classifier.embedding import EmbeddingSummary, embed_photos
from taxonet.classifier.fingerprint import fingerprint
from taxonet.classifier.index import (
    StoredEmbeddings,
    TrainingIndex,
    copy_index,
    index_file,
    split_file,
    trained_on,
)
from taxonet.classifier.model_input import preprocessing_of, resize_spec
from taxonet.classifier.naming import Naming, naming_by_rule
from taxonet.classifier.novelty_fitting import fit_novelty_score, with_novelty_score
from taxonet.classifier.parts import ClassifierParts
from taxonet.classifier.predicted_groups import PredictedGroups, lowest_classes, most_probable
from taxonet.classifier.prediction import PredictionSummary, predict_to_file
from taxonet.classifier.restriction import classes_listed, classes_within, read_species_list
from taxonet.classifier.rows import RowMaker, levels_with_classes
from taxonet.classifier.scored_batch import ScoredBatch
from taxonet.classifier.settings import Calibration, CalibrationSource, Preprocessing
from taxonet.classifier.source_prior import (
    PriorChange,
    SourcePrior,
    implied_prior,
    prior_weights,
)
from taxonet.classifier.spanned import SpannedTree
from taxonet.classifier.species_weights import read_species_weights, weights_of_classes
from taxonet.classifier.trail import TrailPoint, read_trail, write_trail

__all__ = [
    "Calibration",
    "CalibrationScores",
    "CalibrationSource",
    "ClassifierParts",
    "DecisionRule",
    "DecisionSummary",
    "Embedder",
    "EmbeddingSummary",
    "Naming",
    "PredictedGroups",
    "PredictionSummary",
    "Preprocessing",
    "PriorChange",
    "RowMaker",
    "ScoredBatch",
    "SourcePrior",
    "SpannedTree",
    "StoredEmbeddings",
    "StoredPhotos",
    "TaxonClassifier",
    "TrailPoint",
    "TrainingIndex",
    "adapter_of",
    "classes_listed",
    "classes_within",
    "copy_beside",
    "copy_index",
    "decide_from_file",
    "embed_photos",
    "fingerprint",
    "fit_novelty_score",
    "implied_prior",
    "index_file",
    "levels_with_classes",
    "lowest_classes",
    "most_probable",
    "naming_by_rule",
    "predict_to_file",
    "preprocessing_of",
    "prior_weights",
    "read_calibration_scores",
    "read_rule",
    "read_species_list",
    "read_species_weights",
    "read_trail",
    "resize_spec",
    "split_file",
    "trained_on",
    "weights_of_classes",
    "with_novelty_score",
    "write_calibration_scores",
    "write_rule",
    "write_trail",
]
