"""Judges a classifier on a table of photos, at every rank, and looks inside it."""

from taxonet.data.matching import MatchedPhotos, match_photos
from taxonet.evaluation.adaptation import adapt_to_photos
from taxonet.evaluation.analysis import Analysis, analyse
from taxonet.evaluation.breakdown import Breakdown
from taxonet.evaluation.figures import shown_levels
from taxonet.evaluation.geometry import AngleSpread, ClassFigure, Geometry, measure_geometry
from taxonet.evaluation.judge import CLASS_LEVEL, Judgement, LevelCounts, judge
from taxonet.evaluation.prior_shift import PriorShift, estimate_shift
from taxonet.evaluation.projection import Projection
from taxonet.evaluation.run import Evaluation, evaluate

__all__ = [
    "CLASS_LEVEL",
    "Analysis",
    "AngleSpread",
    "Breakdown",
    "ClassFigure",
    "Evaluation",
    "Geometry",
    "Judgement",
    "LevelCounts",
    "MatchedPhotos",
    "PriorShift",
    "Projection",
    "adapt_to_photos",
    "analyse",
    "estimate_shift",
    "evaluate",
    "judge",
    "match_photos",
    "measure_geometry",
    "shown_levels",
]
