"""Hierarchical metrics the slow way: one image, one node, one threshold at a time.

Written from the definitions (Valmadre 2022 and what its public evaluation decides), on a parent
array alone: nothing here sorts by specificity beforehand, accumulates, or looks at the package.
"""

from collections.abc import Sequence
from math import inf, log2

from tests.reference.taxonomy import slow_ancestors, slow_lca, slow_leaves

Row = Sequence[float]
Step = tuple[float, int]
"""A confidence and the node that is named from there on down."""


class Tree:
    """A parent array, and what the definitions ask of a tree."""

    def __init__(self, parent: Sequence[int], kind: str) -> None:
        self.parent = list(parent)
        self.leaves = slow_leaves(self.parent)
        self.leaf_count = [0] * len(self.parent)
        for leaf in self.leaves:
            for node in slow_ancestors(self.parent, leaf):
                self.leaf_count[node] += 1
        children = [0] * len(self.parent)
        for above in self.parent[1:]:
            children[above] += 1
        self.nameable = [node for node in range(len(self.parent)) if children[node] != 1]
        self.kind = kind

    def value(self, node: int) -> float:
        if self.kind == "depth":
            return len(slow_ancestors(self.parent, node)) - 1
        return -log2(self.leaf_count[node] / len(self.leaves))

    def cut(self, named: int, truth: int) -> int:
        return truth if truth in slow_ancestors(self.parent, named) else named

    def recall(self, named: int, truth: int) -> float:
        return _share(self.value(slow_lca(self.parent, named, truth)), self.value(truth))

    def precision(self, named: int, truth: int) -> float:
        cut = self.cut(named, truth)
        return _share(self.value(slow_lca(self.parent, named, truth)), self.value(cut))

    def correct(self, named: int, truth: int) -> bool:
        return self.cut(named, truth) in slow_ancestors(self.parent, truth)

    def f1(self, named: int, truth: int) -> float:
        recall, precision = self.recall(named, truth), self.precision(named, truth)
        return 2 / (1 / recall + 1 / precision) if recall > 0 and precision > 0 else 0.0


def pareto_sequence(tree: Tree, probs: Row, min_confidence: float | None) -> list[Step]:
    """Walk the nodes by falling confidence; keep what is more specific than all before."""
    nodes = [
        node for node in tree.nameable if min_confidence is None or probs[node] > min_confidence
    ]
    nodes.sort(key=lambda node: (-probs[node], tree.leaf_count[node], node))
    sequence: list[Step] = []
    for node in nodes:
        if not sequence or tree.leaf_count[node] < tree.leaf_count[sequence[-1][1]]:
            sequence.append((probs[node], node))
    return sequence or [(inf, 0)]


def named_at(sequence: Sequence[Step], threshold: float) -> int:
    """The last node of the sequence that reaches the threshold, the first if none does."""
    named = sequence[0][1]
    for confidence, node in sequence:
        if confidence >= threshold:
            named = node
    return named


def majority_node(tree: Tree, probs: Row) -> int:
    likely = [node for node in tree.nameable if probs[node] > 0.5]
    return min(likely, key=lambda node: (tree.leaf_count[node], -probs[node], node), default=0)


def best_leaf(tree: Tree, probs: Row) -> int:
    return min(tree.leaves, key=lambda leaf: (-probs[leaf], leaf))


def curve(
    tree: Tree, probs: Sequence[Row], truth: Sequence[int], min_confidence: float | None
) -> dict[float, tuple[float, float, float]]:
    """Mean recall, precision and share of correct images at every threshold that matters."""
    sequences = [pareto_sequence(tree, row, min_confidence) for row in probs]
    further = {confidence for sequence in sequences for confidence, _ in sequence[1:]}
    points = {}
    for threshold in [inf, *sorted(further, reverse=True)]:
        named = [named_at(sequence, threshold) for sequence in sequences]
        points[threshold] = (
            _mean([tree.recall(n, t) for n, t in zip(named, truth, strict=True)]),
            _mean([tree.precision(n, t) for n, t in zip(named, truth, strict=True)]),
            _mean([tree.correct(n, t) for n, t in zip(named, truth, strict=True)]),
        )
    return points


def area(points: Sequence[tuple[float, float]]) -> float:
    """Integrate ``max {y : x' >= x}`` over x, strip by strip."""
    total, left = 0.0, 0.0
    for right in sorted({x for x, _ in points}):
        total += (right - left) * max(y for x, y in points if x >= right)
        left = right
    return total


def hierarchical_metrics(
    parent: Sequence[int],
    probs: Sequence[Row],
    truth: Sequence[int],
    *,
    kind: str,
    min_confidence: float | None = None,
) -> dict[str, float]:
    tree = Tree(parent, kind)
    points = list(curve(tree, probs, truth, min_confidence).values())
    leaves = [best_leaf(tree, row) for row in probs]
    majority = [majority_node(tree, row) for row in probs]
    return {
        "AP": area([(recall, precision) for recall, precision, _ in points]),
        "AC": area([(recall, correct) for recall, _, correct in points]),
        "R@90": max(
            (r for r, _, c in points if round(c * len(truth)) * 10 >= 9 * len(truth)), default=0.0
        ),
        "R@95": max(
            (r for r, _, c in points if round(c * len(truth)) * 20 >= 19 * len(truth)), default=0.0
        ),
        "M-F1": _mean([tree.f1(n, t) for n, t in zip(majority, truth, strict=True)]),
        "L-F1": _mean([tree.f1(n, t) for n, t in zip(leaves, truth, strict=True)]),
        "L-Top1": _mean([tree.cut(n, t) == t for n, t in zip(leaves, truth, strict=True)]),
    }


def node_height(parent: Sequence[int], node: int) -> int:
    """The longest way from a node down to a leaf."""
    return max(
        slow_ancestors(parent, leaf).index(node)
        for leaf in slow_leaves(parent)
        if node in slow_ancestors(parent, leaf)
    )


def lca_height(parent: Sequence[int], named: int, truth: int) -> int:
    lca = slow_lca(parent, named, truth)
    return 0 if lca == truth else node_height(parent, lca)


def _share(part: float, whole: float) -> float:
    return 1.0 if part == whole == 0 else part / whole


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
