"""From scores to decisions: novelty, temperature, diffusion, and the node to name."""

from taxonet.inference.calibration import fit_temperature
from taxonet.inference.decision import (
    LikelyNodes,
    NamingCurve,
    calibrate_threshold,
    cut_at_truth,
    deepest_reaching,
    likely_nodes,
    naming_curve,
)
from taxonet.inference.diffusion import diffuse
from taxonet.inference.diffusion_loss import default_restraint, diffusion_loss
from taxonet.inference.diffusion_tuning import TunedAlpha, tune_alpha
from taxonet.inference.graph_diffusion import GraphDiffusion, tree_graph
from taxonet.inference.learned_diffusion import LearnedDiffusion, fit_learned_diffusion
from taxonet.inference.level_scores import initial_scores, level_probs
from taxonet.inference.novelty import (
    embedding_norm,
    energy,
    entropy,
    max_logit,
    max_softmax,
)
from taxonet.inference.rollup import bottom_up, greedy_descent, level_top_down, top_down

__all__ = [
    "GraphDiffusion",
    "LearnedDiffusion",
    "LikelyNodes",
    "NamingCurve",
    "TunedAlpha",
    "bottom_up",
    "calibrate_threshold",
    "cut_at_truth",
    "deepest_reaching",
    "default_restraint",
    "diffuse",
    "diffusion_loss",
    "embedding_norm",
    "energy",
    "entropy",
    "fit_learned_diffusion",
    "fit_temperature",
    "greedy_descent",
    "initial_scores",
    "level_probs",
    "level_top_down",
    "likely_nodes",
    "max_logit",
    "max_softmax",
    "naming_curve",
    "top_down",
    "tree_graph",
    "tune_alpha",
]
