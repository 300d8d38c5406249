"""Slow loops, written from the papers, that the fitted novelty scores must agree with."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Rows = Sequence[Vector]


def class_mean(rows: Rows, targets: Sequence[int], k: int) -> Vector:
    mine = [x for x, y in zip(rows, targets, strict=True) if y == k]
    return np.asarray(sum(mine) / len(mine))


def shared_covariance(rows: Rows, targets: Sequence[int]) -> Vector:
    """Lee et al., eq. 1."""
    total = np.zeros((len(rows[0]), len(rows[0])))
    for x, y in zip(rows, targets, strict=True):
        away = x - class_mean(rows, targets, y)
        total += np.outer(away, away)
    return total / len(rows)


def squared_mahalanobis(x: Vector, mean: Vector, covariance: Vector) -> float:
    away = x - mean
    return float(away @ np.linalg.inv(covariance) @ away)


def mahalanobis(x: Vector, rows: Rows, targets: Sequence[int]) -> float:
    """Lee et al., eq. 2, negated."""
    covariance = shared_covariance(rows, targets)
    return min(
        squared_mahalanobis(x, class_mean(rows, targets, k), covariance) for k in set(targets)
    )


def relative_mahalanobis(x: Vector, rows: Rows, targets: Sequence[int]) -> float:
    """Ren et al., eq. 3, negated."""
    all_one = [0] * len(rows)
    background = squared_mahalanobis(
        x, class_mean(rows, all_one, 0), shared_covariance(rows, all_one)
    )
    return mahalanobis(x, rows, targets) - background


def nearest_prototype(x: Vector, rows: Rows, targets: Sequence[int], *, distance: str) -> float:
    found: list[float] = []
    for k in set(targets):
        mean = class_mean(rows, targets, k)
        if distance == "cosine":
            cosine = sum(a * b for a, b in zip(x, mean, strict=True)) / (
                math.hypot(*x) * math.hypot(*mean)
            )
            found.append(1 - float(cosine))
        else:
            found.append(math.dist(x, mean))
    return min(found)


def kth_neighbour(x: Vector, rows: Rows, *, k: int) -> float:
    """Sun et al., section 3."""
    unit = x / math.hypot(*x)
    distances = [math.dist(unit, row / math.hypot(*row)) for row in rows]
    return sorted(distances)[k - 1]


def vim(
    x: Vector,
    logits: Vector,
    rows: Rows,
    row_logits: Rows,
    *,
    origin: Vector,
    principal: int,
) -> float:
    """Wang et al., eq. 4 to 8: residual = all less the principal directions, one at a time."""
    second = sum(np.outer(row - origin, row - origin) for row in rows)
    values, vectors = np.linalg.eigh(second)
    largest_first = np.argsort(-values)[:principal]

    def residual_norm(point: Vector) -> float:
        left = point - origin
        for direction in largest_first:
            left = left - (left @ vectors[:, direction]) * vectors[:, direction]
        return math.hypot(*left)

    alpha = sum(max(one) for one in row_logits) / sum(residual_norm(row) for row in rows)
    energy = -math.log(sum(math.exp(one) for one in logits))
    return float(alpha * residual_norm(x)) + energy


def oas_shrinkage(covariance: Vector, degrees: int) -> float:
    """Chen et al., eq. 23."""
    p = len(covariance)
    trace = sum(covariance[i, i] for i in range(p))
    of_square = sum(covariance[i, j] ** 2 for i in range(p) for j in range(p))
    above = (1 - 2 / p) * of_square + trace**2
    below = (degrees + 1 - 2 / p) * (of_square - trace**2 / p)
    return min(1.0, float(above / below))


def nearest_taxon(
    x: Vector, rows: Rows, row_nodes: Sequence[int], level: Sequence[int], parent: Sequence[int]
) -> float:
    """The nearest mean over all images in the subtree of a node of the level."""

    def below(node: int, top: int) -> bool:
        while node != -1:
            if node == top:
                return True
            node = parent[node]
        return False

    found = []
    for top in level:
        mine = [row for row, node in zip(rows, row_nodes, strict=True) if below(node, top)]
        if mine:
            found.append(math.dist(x, np.mean(mine, axis=0)))
    return min(found)
