"""Decision policies the slow way: one threshold, one image, one node at a time.

Written from the definitions on a parent array alone. Probabilities are whole hundredths here, so
that of all thresholds of 6 decimals only the hundredths and the numbers next above them can be
where a name changes.
"""

from collections.abc import Sequence
from math import comb, inf, log, log2

from tests.reference.taxonomy import slow_ancestors, slow_leaves, slow_subtree

Row = Sequence[float]
Parents = Sequence[int]


def thresholds(lowest: int) -> list[float]:
    """Every threshold that matters, falling, from 1 to so many hundredths."""
    found = {round(k / 100 + more, 6) for k in range(lowest, 101) for more in (0, 1e-6)}
    return sorted((t for t in found if t <= 1), reverse=True)


def depth(parent: Parents, node: int) -> int:
    return len(slow_ancestors(parent, node)) - 1


def named_at(parent: Parents, probs: Row, threshold: float) -> int:
    """The deepest node that reaches the threshold, then the more probable, then the lower."""
    reaching = [node for node in range(1, len(probs)) if probs[node] >= threshold]
    return max(reaching, key=lambda v: (depth(parent, v), probs[v], -v), default=0)


def climbed_to(parent: Parents, probs: Row, threshold: float) -> int:
    """The first node from the best leaf upwards that reaches the threshold."""
    leaf = max(slow_leaves(parent), key=lambda v: (probs[v], -v))
    way = slow_ancestors(parent, leaf)
    return next((node for node in way if probs[node] >= threshold), 0)


def is_wrong(parent: Parents, named: int, truth: int) -> bool:
    return named not in slow_ancestors(parent, truth)


def tail(wrong: int, images: int, alpha: float) -> float:
    """P(Bin(images, alpha) <= wrong)."""
    return sum(comb(images, k) * alpha**k * (1 - alpha) ** (images - k) for k in range(wrong + 1))


def first_sequence_end(
    parent: Parents, probs: Sequence[Row], truth: Sequence[int], *, alpha: float, delta: float
) -> float | None:
    """Test thresholds from the strictest until one is not rejected; return the last rejected."""
    rejected = None
    for threshold in thresholds(50):
        wrong = sum(
            is_wrong(parent, named_at(parent, row, threshold), true)
            for row, true in zip(probs, truth, strict=True)
        )
        if tail(wrong, len(truth), alpha) > delta:
            break
        rejected = threshold
    return rejected


def smallest_rejected_among_names(
    parent: Parents, probs: Sequence[Row], truth: Sequence[int], *, alpha: float, delta: float
) -> float | None:
    """Test 51 thresholds at once, each on the images that get a name there."""
    rejected = None
    for hundredths in range(100, 49, -1):
        names = [named_at(parent, row, hundredths / 100) for row in probs]
        below = [(n, t) for n, t in zip(names, truth, strict=True) if n != 0]
        wrong = sum(is_wrong(parent, n, t) for n, t in below)
        if tail(wrong, len(below), alpha) <= delta / 51:
            rejected = hundredths / 100
    return rejected


def smallest_of_mean_risk(
    parent: Parents,
    probs: Sequence[Row],
    truth: Sequence[int],
    *,
    alpha: float,
    climbing: bool = False,
) -> float | None:
    """The smallest threshold with (wrong + 1) / (n + 1) <= alpha at it and at all above."""
    name = climbed_to if climbing else named_at
    kept = None
    for threshold in [*thresholds(0 if climbing else 50), *([0.0] if climbing else [])]:
        wrong = sum(
            is_wrong(parent, name(parent, row, threshold), true)
            for row, true in zip(probs, truth, strict=True)
        )
        if (wrong + 1) / (len(truth) + 1) > alpha:
            break
        kept = threshold
    return kept


def most_informative(parent: Parents, probs: Row, multiplier: float) -> int:
    """The node of the largest (bits + multiplier) * probability, of equals the last."""
    leaves = slow_leaves(parent)
    best, most = 0, -inf
    for node in range(len(probs)):
        below = len(set(leaves) & set(slow_subtree(parent, node)))
        worth = (log2(len(leaves) / below) + multiplier) * probs[node]
        if worth >= most:
            best, most = node, worth
    return best


def mass_above(parent: Parents, probs: Row, node: int) -> float:
    """The probability of leaves above the best leaf on or below a node."""
    leaves = slow_leaves(parent)
    best = max(probs[leaf] for leaf in leaves if leaf in slow_subtree(parent, node))
    return round(sum(probs[leaf] for leaf in leaves if probs[leaf] > best), 6)


def deepest_cover(parent: Parents, leaf_set: set[int]) -> int:
    """The deepest node that has all leaves of a set; the root for an empty one."""
    covers = [v for v in range(len(parent)) if leaf_set <= set(slow_subtree(parent, v))]
    return max(covers, key=lambda v: depth(parent, v)) if leaf_set else 0


def exact_cover(parent: Parents, leaf_set: set[int], node: int = 0) -> set[int]:
    """The fewest nodes whose leaves are the set, from a node downwards."""
    leaves = set(slow_leaves(parent)) & set(slow_subtree(parent, node))
    children = [v for v in range(len(parent)) if parent[v] == node]
    if leaves <= leaf_set and len(children) != 1:
        return {node}
    return {v for child in children for v in exact_cover(parent, leaf_set, child)}


def risk_and_coverage(
    parent: Parents, probs: Sequence[Row], truth: Sequence[int]
) -> list[tuple[float, float]]:
    """Risk and coverage of the climbing rule at every threshold, from the root for all."""
    leaves = slow_leaves(parent)
    values = sorted({inf} | {p for row in probs for p in row}, reverse=True)
    points = []
    for threshold in values:
        wrong, covered = 0, 0.0
        for row, true in zip(probs, truth, strict=True):
            rooted = [inf if threshold < inf else 0.0, *row[1:]]  # the root is always reached
            named = climbed_to(parent, rooted, threshold)
            if true in slow_ancestors(parent, named):
                named = true
            wrong += is_wrong(parent, named, true)
            below = len(set(leaves) & set(slow_subtree(parent, named)))
            covered += 1 - log(below) / log(len(leaves))
        points.append((wrong / len(truth), covered / len(truth)))
    return points
