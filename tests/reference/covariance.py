"""Covariance transfer again, slowly, in loops over single classes, images, positions, channels."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import exp, sqrt

import numpy as np

EPSILON = 1e-8


@dataclass
class SlowStatistics:
    """Eq. 2 and 3: running mean and covariance of each class that was seen."""

    momentum: float | None = None
    images: dict[int, int] = field(default_factory=dict)
    mean: dict[int, np.ndarray] = field(default_factory=dict)
    covariance: dict[int, np.ndarray] = field(default_factory=dict)

    def update(self, maps: np.ndarray, target: Sequence[int]) -> None:
        for k in sorted(set(target)):
            samples = [
                maps[i, :, row, column]
                for i in range(len(target))
                if target[i] == k
                for row in range(maps.shape[2])
                for column in range(maps.shape[3])
            ]
            of_batch = np.zeros(maps.shape[1])
            for x in samples:
                of_batch = of_batch + x / len(samples)
            spread = np.zeros((maps.shape[1], maps.shape[1]))
            for x in samples:
                spread = spread + np.outer(x - of_batch, x - of_batch) / len(samples)
            count = sum(1 for y in target if y == k)
            first = k not in self.images
            self.images[k] = self.images.get(k, 0) + count
            share = count / self.images[k] if self.momentum is None else self.momentum
            if first:
                self.mean[k], self.covariance[k] = of_batch, spread
            else:
                self.mean[k] = (1 - share) * self.mean[k] + share * of_batch
                self.covariance[k] = (1 - share) * self.covariance[k] + share * spread


def shared_covariance(
    tail: np.ndarray, head: np.ndarray, *, tau: float, normalise: str = "none"
) -> np.ndarray:
    """Eq. 4 and 5, entry by entry; `correlation` compares rows of correlations by their cosine."""
    channels = len(tail)
    similarity = np.zeros((channels, channels))
    for j in range(channels):
        for k in range(channels):
            if normalise == "none":
                similarity[j, k] = sum(tail[i, j] * head[i, k] for i in range(channels))
            else:
                similarity[j, k] = _cosine(_profile(tail, j), _profile(head, k))
    shared = np.zeros((channels, channels))
    for j in range(channels):
        highest = max(tau * value for value in similarity[j])
        powers = [exp(tau * value - highest) for value in similarity[j]]
        for k in range(channels):
            shared[j, k] = powers[k] / sum(powers) * similarity[j, k]
    return shared


def transferred(
    image: np.ndarray,
    mean: np.ndarray,
    tail: np.ndarray,
    head: np.ndarray,
    *,
    tau: float,
    normalise: str = "none",
) -> np.ndarray:
    """Eq. 6 for one map (C, H, W); with `correlation`, in the head's standard deviations."""
    shared = shared_covariance(tail, head, tau=tau, normalise=normalise)
    channels, height, width = image.shape
    result = np.zeros_like(image)
    for row in range(height):
        for column in range(width):
            for k in range(channels):
                total = 0.0
                for j in range(channels):
                    scaled = (image[j, row, column] - mean[j]) / sqrt(tail[j, j] + EPSILON)
                    total += scaled * shared[j, k]
                unit = sqrt(head[k, k]) if normalise == "correlation" else 1.0
                result[k, row, column] = total * unit + mean[k]
    return result


def weight(shared: np.ndarray, *, lowest: float, highest: float) -> float:
    """Eq. 11 and the range."""
    total = sum(float(value) for row in shared for value in row)
    return min(max(total / len(shared), lowest), highest)


def _profile(covariance: np.ndarray, channel: int) -> list[float]:
    profile = []
    for other in range(len(covariance)):
        both = sqrt(covariance[channel, channel]) * sqrt(covariance[other, other])
        profile.append(covariance[channel, other] / both if both > 0 else 0.0)
    return profile


def _cosine(a: Sequence[float], b: Sequence[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    norms = sqrt(sum(x * x for x in a)) * sqrt(sum(y * y for y in b))
    return dot / norms if norms > 0 else 0.0


def slow_covariances(embeddings: np.ndarray, target: Sequence[int]) -> dict[int, np.ndarray]:
    """The shrunk covariance of each class of embeddings, whole, by loops over embeddings."""
    size = embeddings.shape[1]
    scatter: dict[int, np.ndarray] = {}
    count: dict[int, int] = {}
    for k in sorted(set(target)):
        members = [x for x, y in zip(embeddings, target, strict=True) if y == k]
        mean = sum(members) / len(members)
        scatter[k], count[k] = np.zeros((size, size)), len(members)
        for x in members:
            scatter[k] = scatter[k] + np.outer(x - mean, x - mean)
    freedom = sum(n - 1 for n in count.values())
    pooled = np.sum(list(scatter.values()), axis=0) / freedom
    trace, square = np.trace(pooled), np.trace(pooled @ pooled)
    above = (1 - 2 / size) * square + trace**2
    below = (freedom + 1 - 2 / size) * (square - trace**2 / size)
    b = above / below if 0 <= above < below else 1
    target_matrix = (1 - b) * pooled + b * trace / size * np.eye(size)
    found = {}
    for k, n in count.items():
        if n < 3:
            found[k] = target_matrix
            continue
        f, own = n - 1, scatter[k] / (n - 1)
        # tr(T^-1/2 S T^-1/2) = tr(T^-1 S), and so for its square.
        ratio = np.linalg.solve(target_matrix, own)
        t, s = np.trace(ratio), np.trace(ratio @ ratio)
        q = f**2 / ((f - 1) * (f + 2)) * (s - t**2 / f)
        a = max(1 / n, (q + t**2) / (q + t**2 + f * max(0, q - 2 * t + size)))
        found[k] = (1 - a) * own + a * target_matrix
    return found


def slow_root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric square root."""
    values, vectors = np.linalg.eigh(matrix)
    root: np.ndarray = (vectors * np.sqrt(values)) @ vectors.T
    return root


def slow_embedding_transfer(
    x: np.ndarray, mean: np.ndarray, tail: np.ndarray, head: np.ndarray, pooled: np.ndarray
) -> np.ndarray:
    """``mu + T^1/2 M_h^1/2 M_t^-1/2 T^-1/2 (x - mu)``, with ``M = T^-1/2 Sigma T^-1/2``."""
    root = slow_root(pooled)
    inverse = np.linalg.inv(root)
    white = np.linalg.inv(slow_root(inverse @ tail @ inverse)) @ inverse @ (x - mean)
    found: np.ndarray = mean + root @ slow_root(inverse @ head @ inverse) @ white
    return found
