"""From scores to decisions: novelty, temperature, diffusion, and the node to name."""

from taxonet.inference.calibration import fit_temperature
from taxonet.inference.decision import (
    LikelyNodes,
    NamingCurve,
    calibrate_threshold,
    deepest_reaching,
    likely_nodes,
    naming_curve,
)
from taxonet.inference.diffusion import diffuse
from taxonet.inference.diffusion_tuning import TunedAlpha, tune_alpha
from taxonet.inference.graph_diffusion import GraphDiffusion, tree_graph
from taxonet.inference.level_scores import initial_scores, level_probs
from taxonet.inference.novelty import (
    embedding_norm,
    energy,
    entropy,
    max_logit,
    max_softmax,
)

__all__ = [
    "GraphDiffusion",
    "LikelyNodes",
    "NamingCurve",
    "TunedAlpha",
    "calibrate_threshold",
    "deepest_reaching",
    "diffuse",
    "embedding_norm",
    "energy",
    "entropy",
    "fit_temperature",
    "initial_scores",
    "level_probs",
    "likely_nodes",
    "max_logit",
    "max_softmax",
    "naming_curve",
    "tree_graph",
    "tune_alpha",
]
