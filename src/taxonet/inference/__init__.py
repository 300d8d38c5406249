"""From scores to decisions: novelty, temperature, and the node to name."""

from taxonet.inference.calibration import fit_temperature
from taxonet.inference.decision import (
    LikelyNodes,
    NamingCurve,
    calibrate_threshold,
    deepest_reaching,
    likely_nodes,
    naming_curve,
)
from taxonet.inference.novelty import (
    embedding_norm,
    energy,
    entropy,
    max_logit,
    max_softmax,
)

__all__ = [
    "LikelyNodes",
    "NamingCurve",
    "calibrate_threshold",
    "deepest_reaching",
    "embedding_norm",
    "energy",
    "entropy",
    "fit_temperature",
    "likely_nodes",
    "max_logit",
    "max_softmax",
    "naming_curve",
]
