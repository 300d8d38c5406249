"""Prototype classifiers and other second stages again, slowly, in loops, as the papers print them.

Each ``*_steps`` function makes the same batches into updates of SGD with momentum 0.9, with
gradients worked out by hand.
"""

from collections.abc import Callable, Sequence
from math import cos, exp, log, pi, sqrt

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Batch = tuple[Array, Sequence[int]]


def distance(g: Sequence[float], c: Sequence[float], *, kind: str, t: Sequence[float]) -> float:
    """Eq. 2 and 4 of the prototype paper, its squared form, and 1 - cos (no temperatures)."""
    if kind == "cosine":
        product = sum(a * b for a, b in zip(g, c, strict=True))
        return 1 - product / sqrt(sum(a * a for a in g)) / sqrt(sum(b * b for b in c))
    total = 0.0
    for a, b, temperature in zip(g, c, t, strict=True):
        total += (a - b) ** 2 / temperature
    return sqrt(total) if kind == "euclidean" else total


def logits(points: Array, prototypes: Array, *, kind: str, t: Sequence[float]) -> list[list[float]]:
    return [
        [-distance(g, c, kind=kind, t=t) / 2 for c in prototypes.tolist()] for g in points.tolist()
    ]


def probs(row: Sequence[float]) -> list[float]:
    whole = sum(exp(value - max(row)) for value in row)
    return [exp(value - max(row)) / whole for value in row]


def adjusted_loss(
    rows: Sequence[Sequence[float]], target: Sequence[int], *, counts: Sequence[int], tau: float
) -> float:
    """Eq. 5: cross entropy of ``-d/2 + tau log N``."""
    total = 0.0
    for row, y in zip(rows, target, strict=True):
        with_prior = [value + tau * log(n) for value, n in zip(row, counts, strict=True)]
        total += -log(probs(with_prior)[y])
    return total / len(target)


def class_means(points: Array, target: Sequence[int], classes: int) -> list[list[float]]:
    means = []
    for k in range(classes):
        own = [point for point, y in zip(points.tolist(), target, strict=True) if y == k]
        means.append([sum(values) / len(own) for values in zip(*own, strict=True)])
    return means


def normalised(weight: Array, *, tau: float) -> list[list[float]]:
    """The weights of tau-norm: ``w / |w|^tau``."""
    rows = weight.tolist()
    return [[value / sqrt(sum(v * v for v in row)) ** tau for value in row] for row in rows]


def cosine_rate(step: int, steps: int) -> float:
    return (1 + cos(pi * step / steps)) / 2


class Momentum:
    """``v <- 0.9 v + (gradient + decay w)``, ``w <- w - rate v``."""

    def __init__(self, values: Array, *, rate: float, decay: float = 0.0) -> None:
        self.values, self.rate, self.decay = values.copy(), rate, decay
        self.velocity = np.zeros_like(values)

    def step(self, gradient: Array, factor: float) -> None:
        self.velocity = 0.9 * self.velocity + gradient + self.decay * self.values
        self.values = self.values - self.rate * factor * self.velocity


def prototype_steps(
    prototypes: Array,
    batches: Sequence[Batch],
    *,
    counts: Sequence[int],
    tau: float,
    rate: float,
    temperature_rate: float,
) -> tuple[Array, Array]:
    """Algorithm 1 with Euclidean distances and the mean loss; returns prototypes and log T."""
    c = Momentum(prototypes, rate=rate)
    log_t = Momentum(np.zeros(prototypes.shape[1]), rate=temperature_rate)
    for points, target in batches:
        of_c, of_t = np.zeros_like(c.values), np.zeros_like(log_t.values)
        t = np.exp(log_t.values)
        for g, y in zip(points, target, strict=True):
            d = [sqrt(((g - ck) ** 2 / t).sum()) for ck in c.values]
            p = probs([-dk / 2 + tau * log(n) for dk, n in zip(d, counts, strict=True)])
            for k, dk in enumerate(d):
                if dk == 0:
                    continue
                of_logit = (p[k] - (k == y)) / len(target)
                of_c[k] += of_logit * -0.5 * (c.values[k] - g) / t / dk
                of_t += of_logit * 0.25 * (g - c.values[k]) ** 2 / t / dk
        c.step(of_c, 1.0)
        log_t.step(of_t, 1.0)
    return c.values, log_t.values


def linear_steps(
    weight: Array,
    bias: Array,
    batches: Sequence[Batch],
    *,
    rate: float,
    decay: float,
    project: Callable[[Array], Array] = lambda values: values,
) -> tuple[Array, Array]:
    """A linear softmax classifier at a cosine rate; ``project`` acts after every step."""
    w, b = Momentum(weight, rate=rate, decay=decay), Momentum(bias, rate=rate, decay=decay)
    for step, (points, target) in enumerate(batches):
        of_w, of_b = np.zeros_like(weight), np.zeros_like(bias)
        for x, y in zip(points, target, strict=True):
            p = probs((w.values @ x + b.values).tolist())
            for k in range(len(bias)):
                of_w[k] += (p[k] - (k == y)) * x / len(target)
                of_b[k] += (p[k] - (k == y)) / len(target)
        factor = cosine_rate(step, len(batches))
        w.step(of_w, factor)
        b.step(of_b, factor)
        w.values = project(w.values)
    return w.values, b.values


def within(weight: Array, radius: float) -> Array:
    """The nearest weights with norms of at most the radius."""
    rows = [row if sqrt(row @ row) <= radius else row * radius / sqrt(row @ row) for row in weight]
    return np.array(rows)


def scaling_steps(
    weight: Array, bias: Array, batches: Sequence[Batch], *, rate: float, decay: float
) -> Array:
    """LWS: one factor a class on the logits of a fixed linear classifier."""
    s = Momentum(np.ones(len(bias)), rate=rate, decay=decay)
    for step, (points, target) in enumerate(batches):
        gradient = np.zeros(len(bias))
        for x, y in zip(points, target, strict=True):
            plain = weight @ x + bias
            p = probs((s.values * plain).tolist())
            for k in range(len(bias)):
                gradient[k] += (p[k] - (k == y)) * plain[k] / len(target)
        s.step(gradient, cosine_rate(step, len(batches)))
    return s.values
