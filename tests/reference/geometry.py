"""Slow loops, written from the papers, that the figures of geometry must agree with."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Vector = Sequence[float]


def dot(a: Vector, b: Vector) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def cosine(a: Vector, b: Vector) -> float:
    lengths = math.sqrt(dot(a, a) * dot(b, b))
    return dot(a, b) / lengths if lengths else 0.0


def angle(a: Vector, b: Vector) -> float:
    return math.degrees(math.acos(max(-1.0, min(1.0, cosine(a, b)))))


def distance(a: Vector, b: Vector) -> float:
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))


def mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def pair_means(
    vectors: Sequence[Vector], groups: Sequence[str], kind: tuple[str, str] | None
) -> tuple[int, float | None, float | None]:
    """Count the unordered pairs of that kind (None: all), and average distance and cosine."""
    pairs = [
        (vectors[a], vectors[b])
        for a in range(len(vectors))
        for b in range(a)
        if kind is None or sorted((groups[a], groups[b])) == sorted(kind)
    ]
    return len(pairs), mean([distance(*p) for p in pairs]), mean([cosine(*p) for p in pairs])


def fisher_criterion(
    one: NDArray[np.float64], other: NDArray[np.float64], shrinkage: float
) -> float:
    """Find the direction of linear discriminant analysis, and measure eq. 12 along it."""
    features = one.shape[1]
    scatters = []
    for images in (one, other):
        scatter = np.zeros((features, features))
        for image in images:
            centred = image - images.mean(axis=0)
            scatter += np.outer(centred, centred) / (len(images) - 1)
        scatters.append(scatter)
    within = scatters[0] + scatters[1]
    within = (1 - shrinkage) * within + shrinkage * np.trace(within) / features * np.eye(features)
    direction = np.linalg.solve(within, one.mean(axis=0) - other.mean(axis=0))
    between = (direction @ one.mean(axis=0) - direction @ other.mean(axis=0)) ** 2
    return float(between / (direction @ within @ direction))


def separability(
    embeddings: NDArray[np.float64], targets: Sequence[int], classes: int, shrinkage: float
) -> list[float]:
    images = [embeddings[[t == k for t in targets]] for k in range(classes)]
    usable = [k for k in range(classes) if len(images[k]) > 1]
    return [
        sum(fisher_criterion(images[k], images[j], shrinkage) for j in usable if j != k)
        / (len(usable) - 1)
        if k in usable and len(usable) > 1
        else math.nan
        for k in range(classes)
    ]


def class_margin(scores: Sequence[Vector], targets: Sequence[int], k: int) -> float:
    margins = [
        row[k] - max(score for j, score in enumerate(row) if j != k)
        for row, target in zip(scores, targets, strict=True)
        if target == k
    ]
    return sum(margins) / len(margins) if margins else math.nan


def nearest(embeddings: Sequence[Vector], k: int) -> list[list[int]]:
    found = []
    for a, one in enumerate(embeddings):
        others = [b for b in range(len(embeddings)) if b != a]
        found.append(sorted(others, key=lambda b: (-round(cosine(one, embeddings[b]), 9), b))[:k])
    return found


def agreement(
    neighbours: Sequence[Sequence[int]], taxa: Sequence[int]
) -> tuple[float, float, float]:
    """Count relatives among the neighbours, among all others, and as many as there could be."""
    found, chances, bests = [], [], []
    for image, taxon in enumerate(taxa):
        if taxon < 0:
            continue
        others = [taxa[other] == taxon for other in range(len(taxa)) if other != image]
        chances.append(sum(others) / len(others))
        k = len(neighbours[image])
        bests.append(min(k, sum(others)) / k)
        found += [taxa[other] == taxon for other in neighbours[image]]
    return sum(found) / len(found), sum(chances) / len(chances), sum(bests) / len(bests)
