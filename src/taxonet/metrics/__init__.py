"""What an evaluation reports: recall, open-set acceptance, calibration. NumPy only.

Nothing here keeps an array of images times classes; the counts stream.
"""

from taxonet.metrics.calibration import (
    ReliabilityCurve,
    expected_calibration_error,
    reliability_curve,
)
from taxonet.metrics.confusion import ConfusedPair, MostConfused, most_confused
from taxonet.metrics.counts import ConfusionCounts, HitCounts, PairCounts
from taxonet.metrics.open_set import OpenSetMetrics, open_set_metrics, oscr, threshold_at_tpr
from taxonet.metrics.recall import (
    RecallSummary,
    accuracy,
    class_f1,
    class_precision,
    class_recall,
    macro_recall,
    recall_by_group,
    summarise_recall,
    top_k_hits,
)

__all__ = [
    "ConfusedPair",
    "ConfusionCounts",
    "HitCounts",
    "MostConfused",
    "OpenSetMetrics",
    "PairCounts",
    "RecallSummary",
    "ReliabilityCurve",
    "accuracy",
    "class_f1",
    "class_precision",
    "class_recall",
    "expected_calibration_error",
    "macro_recall",
    "most_confused",
    "open_set_metrics",
    "oscr",
    "recall_by_group",
    "reliability_curve",
    "summarise_recall",
    "threshold_at_tpr",
    "top_k_hits",
]
