"""What an evaluation reports: recall, hierarchy, open sets, calibration, geometry. NumPy only.

Nothing here keeps an array of images times classes; the counts stream.
"""

from taxonet.metrics.agreement import Agreement, NodeValue, hierarchical_agreement
from taxonet.metrics.bootstrap import Interval, bootstrap_interval
from taxonet.metrics.calibration import (
    ReliabilityCounts,
    ReliabilityCurve,
    expected_calibration_error,
    reliability_curve,
)
from taxonet.metrics.confusion import ConfusedPair, MostConfused, most_confused
from taxonet.metrics.counts import ConfusionCounts, HitCounts, PairCounts
from taxonet.metrics.geometry import (
    PairMeans,
    PairwiseGeometry,
    angles_to_centers,
    pairwise_geometry,
    vector_norms,
)
from taxonet.metrics.groups import class_means, mean_by_group
from taxonet.metrics.hierarchical import hierarchical_metrics
from taxonet.metrics.margins import class_margins, score_margins
from taxonet.metrics.neighbours import (
    NeighbourAgreement,
    nearest_neighbours,
    neighbour_agreement,
)
from taxonet.metrics.open_set import open_set_metrics, oscr, ranking_metrics
from taxonet.metrics.operating_curve import OperatingCurve, OperatingPoints
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
from taxonet.metrics.risk_coverage import (
    RiskCoverageCurve,
    RiskCoveragePoints,
    node_coverage,
)
from taxonet.metrics.separability import fisher_separability
from taxonet.metrics.severity import (
    hierarchical_distance_at_k,
    lca_heights,
    mistake_severity,
    node_heights,
)
from taxonet.thresholds import threshold_at_tpr

__all__ = [
    "Agreement",
    "ConfusedPair",
    "ConfusionCounts",
    "HitCounts",
    "Interval",
    "MostConfused",
    "NeighbourAgreement",
    "NodeValue",
    "OperatingCurve",
    "OperatingPoints",
    "PairCounts",
    "PairMeans",
    "PairwiseGeometry",
    "RecallSummary",
    "ReliabilityCounts",
    "ReliabilityCurve",
    "RiskCoverageCurve",
    "RiskCoveragePoints",
    "accuracy",
    "angles_to_centers",
    "bootstrap_interval",
    "class_f1",
    "class_margins",
    "class_means",
    "class_precision",
    "class_recall",
    "expected_calibration_error",
    "fisher_separability",
    "hierarchical_agreement",
    "hierarchical_distance_at_k",
    "hierarchical_metrics",
    "lca_heights",
    "macro_recall",
    "mean_by_group",
    "mistake_severity",
    "most_confused",
    "nearest_neighbours",
    "neighbour_agreement",
    "node_coverage",
    "node_heights",
    "open_set_metrics",
    "oscr",
    "pairwise_geometry",
    "ranking_metrics",
    "recall_by_group",
    "reliability_curve",
    "score_margins",
    "summarise_recall",
    "threshold_at_tpr",
    "top_k_hits",
    "vector_norms",
]
