"""Which node of the tree to name, and policies that choose it with a stated promise."""

from taxonet.inference.decision.climbing import Climbing
from taxonet.inference.decision.covers import covering_node, covering_nodes
from taxonet.inference.decision.curve import NamingCurve, calibrate_threshold, naming_curve
from taxonet.inference.decision.grouped import ThresholdPolicy
from taxonet.inference.decision.information_gain import InformationGain
from taxonet.inference.decision.leaf_sets import LeafSets
from taxonet.inference.decision.likely import (
    LOWEST_THRESHOLD_PROB,
    PROB_DECIMALS,
    LikelyNodes,
    likely_nodes,
)
from taxonet.inference.decision.mean_risk import MeanRiskControlled
from taxonet.inference.decision.mistakes import wrong_up_to
from taxonet.inference.decision.naming import deepest_reaching
from taxonet.inference.decision.policy import Policy
from taxonet.inference.decision.rank_thresholds import RankThresholds
from taxonet.inference.decision.risk_control import RiskControlled, smallest_alpha
from taxonet.inference.decision.stored import policy_from_dict
from taxonet.inference.decision.truth import cut_at_truth, is_on_path

__all__ = [
    "LOWEST_THRESHOLD_PROB",
    "PROB_DECIMALS",
    "Climbing",
    "InformationGain",
    "LeafSets",
    "LikelyNodes",
    "MeanRiskControlled",
    "NamingCurve",
    "Policy",
    "RankThresholds",
    "RiskControlled",
    "ThresholdPolicy",
    "calibrate_threshold",
    "covering_node",
    "covering_nodes",
    "cut_at_truth",
    "deepest_reaching",
    "is_on_path",
    "likely_nodes",
    "naming_curve",
    "policy_from_dict",
    "smallest_alpha",
    "wrong_up_to",
]
