"""Judges a classifier on a table of photos: every metric at every rank."""

from taxonet.evaluation.figures import reliability_of, shown_levels
from taxonet.evaluation.judge import CLASS_LEVEL, Judgement, LevelCounts, judge
from taxonet.evaluation.matching import MatchedPhotos, match_photos
from taxonet.evaluation.run import Evaluation, evaluate

__all__ = [
    "CLASS_LEVEL",
    "Evaluation",
    "Judgement",
    "LevelCounts",
    "MatchedPhotos",
    "evaluate",
    "judge",
    "match_photos",
    "reliability_of",
    "shown_levels",
]
