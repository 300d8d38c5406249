"""The long-tail losses again, slowly, in loops over single images, as the papers print them."""

from collections.abc import Sequence
from decimal import Decimal, localcontext
from math import acos, cos, exp, log, pi

import numpy as np


def effective_number_weights(counts: Sequence[int], beta: float) -> list[float]:
    """Section 4 of Cui et al., with 60 digits: (1 - beta) / (1 - beta^N), then summing to c."""
    with localcontext() as context:
        context.prec = 60
        exact = Decimal(beta)
        raw = [(1 - exact) / (1 - exact**count) for count in counts]
        return [float(len(counts) * weight / sum(raw)) for weight in raw]


def cross_entropies(logits: np.ndarray, target: Sequence[int]) -> list[float]:
    return [
        -log(exp(row[y]) / sum(exp(logit) for logit in row))
        for row, y in zip(logits.tolist(), target, strict=True)
    ]


def smoothed_cross_entropies(
    logits: np.ndarray, target: Sequence[int], smoothing: float
) -> list[float]:
    losses = []
    for row, y in zip(logits.tolist(), target, strict=True):
        total = 0.0
        for k in range(len(row)):
            share = smoothing / len(row) + (1 - smoothing if k == y else 0.0)
            total -= share * log(exp(row[k]) / sum(exp(logit) for logit in row))
        losses.append(total)
    return losses


def weighted_mean(
    losses: Sequence[float], target: Sequence[int], weights: Sequence[float]
) -> float:
    numerator = sum(weights[y] * loss for loss, y in zip(losses, target, strict=True))
    return numerator / sum(weights[y] for y in target)


def focal(logits: np.ndarray, target: Sequence[int], *, focus: float) -> float:
    """Eq. 4 of Lin et al."""
    total = 0.0
    for row, y in zip(logits.tolist(), target, strict=True):
        p = exp(row[y]) / sum(exp(logit) for logit in row)
        total += -((1 - p) ** focus) * log(p)
    return total / len(target)


def logit_adjusted(
    logits: np.ndarray, target: Sequence[int], *, counts: Sequence[int], tau: float
) -> float:
    """Eq. 10 of Menon et al., as a softmax weighted by pi^tau."""
    total = 0.0
    for row, y in zip(logits.tolist(), target, strict=True):
        weighed = [
            (count / sum(counts)) ** tau * exp(logit)
            for logit, count in zip(row, counts, strict=True)
        ]
        total += -log(weighed[y] / sum(weighed))
    return total / len(target)


def margined(
    cosines: np.ndarray, target: Sequence[int], psi: Sequence[float], *, scale: float
) -> float:
    """The mean cross entropy of scaled cosines with psi in the place of each target's."""
    total = 0.0
    for z, y, of_target in zip(cosines.tolist(), target, psi, strict=True):
        target_term = exp(scale * of_target)
        others = sum(exp(scale * z[k]) for k in range(len(z)) if k != y)
        total += -log(target_term / (target_term + others))
    return total / len(target)


def continued_cosine(angle: float) -> float:
    """Cos up to pi; beyond, -2 - cos."""
    return cos(angle) if angle <= pi else -2 - cos(angle)


def sphereface_psi(cosine: float, *, multiple: int) -> float:
    angle = acos(cosine)
    q = 0
    while angle > (q + 1) * pi / multiple and q < multiple - 1:
        q += 1
    return float((-1) ** q * cos(multiple * angle) - 2 * q)


def ldam_margins(counts: Sequence[int], *, max_margin: float) -> list[float]:
    """Cao et al.: C / n^(1/4), with C found from the largest."""
    raw = [1 / count**0.25 for count in counts]
    constant = max_margin / max(raw)
    return [constant * value for value in raw]


def dbm_psi(
    cosines: np.ndarray,
    target: Sequence[int],
    *,
    counts: Sequence[int],
    max_margin: float,
    power: float,
    instance_weight: float,
    positives: str,
    monotone: bool = False,
) -> list[float]:
    """Eq. 6 to 9 of DBM."""
    psi = []
    for z, y in zip(cosines.tolist(), target, strict=True):
        angles = [acos(cosine) for cosine in z]
        of_class = max_margin * (counts[y] / min(counts)) ** (-power)
        of_instance = of_class * (1 - cos(angles[y])) / 2
        nearest = min(range(len(z)), key=lambda k: angles[k])
        gets_it = {"all": True, "none": False, "hard": nearest != y}[positives]
        angle = angles[y] + of_class + (instance_weight * of_instance if gets_it else 0.0)
        psi.append(continued_cosine(angle) if monotone else cos(angle))
    return psi


def dbm(
    cosines: np.ndarray,
    target: Sequence[int],
    psi: Sequence[float],
    *,
    counts: Sequence[int],
    scale: float,
    base: str,
) -> float:
    """DBM-CE, DBM-BS, or DBM-CB with beta 0.9999, divided by the sum of the weights."""
    logits = scale * cosines
    for row, y, of_target in zip(logits, target, psi, strict=True):
        row[y] = scale * of_target
    if base == "bs":
        logits = logits + np.array([log(count / sum(counts)) for count in counts])
    weights = effective_number_weights(counts, 0.9999) if base == "cb" else [1.0] * len(counts)
    return weighted_mean(cross_entropies(logits, target), target, weights)
