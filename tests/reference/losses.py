"""The losses again, slowly, in loops over single images and classes, as the papers print them."""

from collections.abc import Sequence
from math import exp, log

import numpy as np


def cross_entropy(logits: np.ndarray, target: Sequence[int]) -> float:
    total = 0.0
    for row, y in zip(logits.tolist(), target, strict=True):
        total += -log(exp(row[y]) / sum(exp(logit) for logit in row))
    return total / len(target)


def am_softmax(cosines: np.ndarray, target: Sequence[int], *, margin: float, scale: float) -> float:
    """Eq. 1 of TaxoNet."""
    total = 0.0
    for z, y in zip(cosines.tolist(), target, strict=True):
        of_target = exp(scale * (z[y] - margin))
        of_others = sum(exp(scale * z[j]) for j in range(len(z)) if j != y)
        total += -log(of_target / (of_target + of_others))
    return total / len(target)


def rho(counts: Sequence[int], *, base_margin: float, normalise: str = "sum") -> list[float]:
    """Below eq. 4: proportional to m0 (-log N_k / N), summing to m0 (or with m0 as the largest)."""
    images = sum(counts)
    raw = [base_margin * -log(count / images) for count in counts]
    whole = sum(raw) if normalise == "sum" else max(raw)
    return [base_margin * value / whole for value in raw]


def delta(rhos: Sequence[float], *, gamma: float, base_margin: float) -> list[float]:
    """Eq. 3."""
    zeta = log(1 + exp(gamma))
    return [base_margin * (value / base_margin) ** zeta for value in rhos]


def dual_margin(
    cosines: np.ndarray,
    target: Sequence[int],
    *,
    counts: Sequence[int],
    gamma: float,
    base_margin: float,
    scale: float,
    regularisation: float,
    normalise: str = "sum",
) -> float:
    """Eq. 2, 4 and 5."""
    rhos = rho(counts, base_margin=base_margin, normalise=normalise)
    deltas = delta(rhos, gamma=gamma, base_margin=base_margin)
    total = 0.0
    for z, y in zip(cosines.tolist(), target, strict=True):
        of_target = exp(scale * (z[y] - (base_margin + deltas[y])))
        of_others = 0.0
        for k in range(len(z)):
            if k != y:
                of_others += exp(scale * (z[k] - deltas[k]))
        total += -log(of_target / (of_target + of_others))
    penalty = sum((d - r) ** 2 for d, r in zip(deltas, rhos, strict=True))
    return total / len(target) + regularisation * penalty
