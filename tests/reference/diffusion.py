"""Diffusion again, slowly: dense matrices and loops, from eq. 1 to 4 of the paper."""

from collections.abc import Sequence
from math import exp, sqrt

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def normalised_adjacency(parent: Sequence[int]) -> Array:
    """Eq. 1. A node without neighbours, the only one of its tree, has a row of zeros."""
    size = len(parent)
    joined = np.zeros((size, size))
    for node in range(1, size):
        joined[node, parent[node]] = joined[parent[node], node] = 1
    degree = [sum(joined[node]) for node in range(size)]
    for i in range(size):
        for j in range(size):
            if joined[i, j]:
                joined[i, j] /= sqrt(degree[i] * degree[j])
    return joined


def slow_steps(parent: Sequence[int], initial: Array, *, alpha: float, steps: int) -> Array:
    """Eq. 2."""
    adjacency = normalised_adjacency(parent)
    scores = initial
    for _ in range(steps):
        scores = alpha * scores @ adjacency.T + (1 - alpha) * initial
    return scores


def slow_limit(parent: Sequence[int], initial: Array, *, alpha: float) -> Array:
    """Eq. 4, with the inverse of a dense matrix."""
    system = np.eye(len(parent)) - alpha * normalised_adjacency(parent)
    limit: Array = (1 - alpha) * initial @ np.linalg.inv(system).T
    return limit


def members_of_level(parent: Sequence[int], depth: Sequence[int], level: int) -> list[int]:
    """The nodes of that depth, and the leaves that are shallower."""
    leaves = [node for node in range(len(parent)) if node not in parent]
    nodes = range(len(parent))
    return [v for v in nodes if depth[v] == level or (v in leaves and depth[v] < level)]


def slow_initial_scores(
    parent: Sequence[int],
    depth: Sequence[int],
    scores: Sequence[float],
    *,
    levels: Sequence[int],
    softmax: bool,
    top: int,
) -> list[float]:
    """One row. The value of a node is that of the first level it is in."""
    result = [0.0] * len(parent)
    kept, valued = set(), set()
    for level in levels:
        members = members_of_level(parent, depth, level)
        total = sum(exp(scores[v]) for v in members)
        for v in members:
            if v not in valued:
                result[v] = exp(scores[v]) / total if softmax else scores[v]
            valued.add(v)
        kept |= set(sorted(members, key=lambda v: -scores[v])[:top])
    return [x if v in kept and v != 0 else 0.0 for v, x in enumerate(result)]
