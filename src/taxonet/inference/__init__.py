"""From scores to decisions: novelty, temperature, diffusion, and the node to name."""

from taxonet.inference.batch_norm import adapt_batch_norm, batch_norm_layers
from taxonet.inference.calibration import fit_temperature
from taxonet.inference.decision import (
    Climbing,
    InformationGain,
    LeafSets,
    LikelyNodes,
    MeanRiskControlled,
    NamingCurve,
    RankThresholds,
    RiskControlled,
    calibrate_threshold,
    covering_node,
    covering_nodes,
    cut_at_truth,
    deepest_reaching,
    likely_nodes,
    naming_curve,
    policy_from_dict,
)
from taxonet.inference.diffusion import diffuse
from taxonet.inference.diffusion_loss import default_restraint, diffusion_loss
from taxonet.inference.diffusion_tuning import TunedAlpha, tune_alpha
from taxonet.inference.graph_diffusion import GraphDiffusion, tree_graph
from taxonet.inference.learned_diffusion import LearnedDiffusion, fit_learned_diffusion
from taxonet.inference.level_scores import initial_scores, level_probs
from taxonet.inference.novelty import (
    EmbeddingMoments,
    FittedNovelty,
    Mahalanobis,
    NearestNeighbours,
    NearestPrototype,
    NearestTaxon,
    RelativeMahalanobis,
    ViM,
    embedding_norm,
    energy,
    entropy,
    max_logit,
    max_softmax,
    novelty_by_level,
)
from taxonet.inference.prior_shift import EstimatedPriors, estimate_priors, with_priors
from taxonet.inference.rank_temperature import at_rank, fit_rank_temperatures
from taxonet.inference.rollup import bottom_up, greedy_descent, level_top_down, top_down

__all__ = [
    "Climbing",
    "EmbeddingMoments",
    "EstimatedPriors",
    "FittedNovelty",
    "GraphDiffusion",
    "InformationGain",
    "LeafSets",
    "LearnedDiffusion",
    "LikelyNodes",
    "Mahalanobis",
    "MeanRiskControlled",
    "NamingCurve",
    "NearestNeighbours",
    "NearestPrototype",
    "NearestTaxon",
    "RankThresholds",
    "RelativeMahalanobis",
    "RiskControlled",
    "TunedAlpha",
    "ViM",
    "adapt_batch_norm",
    "at_rank",
    "batch_norm_layers",
    "bottom_up",
    "calibrate_threshold",
    "covering_node",
    "covering_nodes",
    "cut_at_truth",
    "deepest_reaching",
    "default_restraint",
    "diffuse",
    "diffusion_loss",
    "embedding_norm",
    "energy",
    "entropy",
    "estimate_priors",
    "fit_learned_diffusion",
    "fit_rank_temperatures",
    "fit_temperature",
    "greedy_descent",
    "initial_scores",
    "level_probs",
    "level_top_down",
    "likely_nodes",
    "max_logit",
    "max_softmax",
    "naming_curve",
    "novelty_by_level",
    "policy_from_dict",
    "top_down",
    "tree_graph",
    "tune_alpha",
    "with_priors",
]
