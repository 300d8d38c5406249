"""A taxonomy the slow and obvious way: a set of paths, climbed by loops."""

from collections.abc import Iterable, Sequence
from math import exp, inf, log

import numpy as np
from numpy.typing import NDArray

Path = tuple[str, ...]


def ordered_paths(rows: Iterable[Sequence[str]]) -> list[Path]:
    """All prefixes of all rows (empty cells skipped), level by level, then parent, then name."""
    paths: set[Path] = set()
    for row in rows:
        names = tuple(name for name in row if name)
        paths |= {names[:length] for length in range(len(names) + 1)}
    # A path sorts after the paths of its level whose parents come first.
    return sorted(paths, key=lambda path: (len(path), path))


def slow_ancestors(parent: Sequence[int], node: int) -> list[int]:
    climbed = [node]
    while parent[climbed[-1]] >= 0:
        climbed.append(parent[climbed[-1]])
    return climbed


def slow_lca(parent: Sequence[int], a: int, b: int) -> int:
    above_b = set(slow_ancestors(parent, b))
    return next(node for node in slow_ancestors(parent, a) if node in above_b)


def slow_subtree(parent: Sequence[int], node: int) -> list[int]:
    return [below for below in range(len(parent)) if node in slow_ancestors(parent, below)]


def slow_leaves(parent: Sequence[int]) -> list[int]:
    return [node for node in range(len(parent)) if node not in parent]


def slow_sum_up(parent: Sequence[int], values: NDArray[np.float64]) -> NDArray[np.float64]:
    sums = np.zeros_like(values)
    for node in range(len(parent)):
        for above in slow_ancestors(parent, node):
            sums[:, above] += values[:, node]
    return sums


def slow_logsumexp_up(parent: Sequence[int], values: NDArray[np.float64]) -> NDArray[np.float64]:
    result = np.empty_like(values)
    for row, scores in enumerate(values.tolist()):
        for node in range(len(parent)):
            below = [scores[i] for i in slow_subtree(parent, node)]
            peak = max(below)
            total = sum(exp(x - peak) for x in below) if peak > -inf else 0.0
            result[row, node] = peak + log(total) if total else -inf
    return result


def slow_max_up(parent: Sequence[int], values: NDArray[np.float64]) -> NDArray[np.float64]:
    result = np.empty_like(values)
    for node in range(len(parent)):
        for row in range(len(values)):
            result[row, node] = max(values[row, i] for i in slow_subtree(parent, node))
    return result


def slow_sum_down(parent: Sequence[int], values: NDArray[np.float64]) -> NDArray[np.float64]:
    sums = np.zeros_like(values)
    for node in range(len(parent)):
        for above in slow_ancestors(parent, node):
            sums[:, node] += values[:, above]
    return sums


def slow_sibling_log_softmax(
    parent: Sequence[int], scores: NDArray[np.float64]
) -> NDArray[np.float64]:
    logs = np.zeros_like(scores)
    for node in range(1, len(parent)):
        siblings = [i for i in range(1, len(parent)) if parent[i] == parent[node]]
        for row in range(len(scores)):
            total = sum(exp(scores[row, i] - scores[row, node]) for i in siblings)
            logs[row, node] = -log(total)
    return logs
