"""The hierarchical losses again, slowly, for one image at a time, over sets of nodes.

A tree is the list of its parents, -1 for the root; nodes come after their parents. Scores are one
number a leaf, ascending by node, or one a node.
"""

from collections.abc import Callable, Mapping, Sequence
from math import exp, log

from tests.reference.taxonomy import slow_ancestors, slow_lca, slow_leaves, slow_subtree

Parents = Sequence[int]
Row = Sequence[float]


def path(parent: Parents, node: int) -> list[int]:
    return slow_ancestors(parent, node)[::-1]


def depth(parent: Parents, node: int) -> int:
    return len(slow_ancestors(parent, node)) - 1


def height(parent: Parents, node: int) -> int:
    return max(depth(parent, below) for below in slow_subtree(parent, node)) - depth(parent, node)


def children(parent: Parents, node: int) -> list[int]:
    return [child for child, above in enumerate(parent) if above == node]


def leaves_below(parent: Parents, node: int) -> list[int]:
    return [leaf for leaf in slow_leaves(parent) if node in slow_ancestors(parent, leaf)]


def softmax(scores: Mapping[int, float]) -> dict[int, float]:
    total = sum(exp(score) for score in scores.values())
    return {node: exp(score) / total for node, score in scores.items()}


def summed_up(parent: Parents, probs: Mapping[int, float]) -> list[float]:
    return [
        sum(probs.get(below, 0.0) for below in slow_subtree(parent, node))
        for node in range(len(parent))
    ]


def sigmoid(score: float) -> float:
    return 1 / (1 + exp(-score))


# Leaf scores


def flat_probabilities(parent: Parents, row: Row) -> list[float]:
    return summed_up(parent, softmax(dict(zip(slow_leaves(parent), row, strict=True))))


def flat_softmax(parent: Parents, row: Row, y: int) -> float:
    return -log(flat_probabilities(parent, row)[y])


def hierarchical_cross_entropy(parent: Parents, row: Row, y: int, *, alpha: float) -> float:
    probs = flat_probabilities(parent, row)
    steps = zip(path(parent, y), path(parent, y)[1:], strict=False)
    return sum(exp(-alpha * depth(parent, a)) * -log(probs[b] / probs[a]) for a, b in steps)


def soft_labels(parent: Parents, row: Row, y: int, *, beta: float) -> float:
    leaves = slow_leaves(parent)
    tallest = max(height(parent, 0), 1)
    raw = [exp(-beta * height(parent, slow_lca(parent, y, k)) / tallest) for k in leaves]
    probs = softmax(dict(zip(leaves, row, strict=True)))
    return sum(-q / sum(raw) * log(probs[k]) for q, k in zip(raw, leaves, strict=True))


# Node scores


def level(parent: Parents, at: int) -> list[int]:
    return [
        node
        for node in range(len(parent))
        if depth(parent, node) == at or (depth(parent, node) < at and not children(parent, node))
    ]


def levelwise(parent: Parents, row: Row, y: int, *, levels: Sequence[int] | None) -> float:
    deepest = max(depth(parent, node) for node in range(len(parent)))
    total = 0.0
    for at in range(1, deepest + 1) if levels is None else levels:
        probs = softmax({node: row[node] for node in level(parent, at)})
        total += sum(-log(probs[node]) for node in path(parent, y) if node in probs)
    return total


def levelwise_probabilities(
    parent: Parents, row: Row, *, levels: Sequence[int] | None
) -> list[float]:
    deepest = max(depth(parent, node) for node in range(len(parent)))
    chosen = list(range(1, deepest + 1)) if levels is None else sorted(levels)
    result = [1.0]
    for node in range(1, len(parent)):
        deeper = [at for at in chosen if at >= depth(parent, node)]
        if not deeper:
            result.append(0.0)
            continue
        probs = softmax({other: row[other] for other in level(parent, deeper[0])})
        result.append(sum(probs.get(below, 0.0) for below in slow_subtree(parent, node)))
    return result


def conditional(parent: Parents, row: Row, node: int) -> float:
    siblings = children(parent, parent[node])
    return softmax({sibling: row[sibling] for sibling in siblings})[node]


def product_down(parent: Parents, node: int, factor: Callable[[int], float]) -> float:
    result = 1.0
    for above in path(parent, node)[1:]:
        result *= factor(above)
    return result


def conditional_softmax_probabilities(parent: Parents, row: Row) -> list[float]:
    return [
        product_down(parent, node, lambda above: conditional(parent, row, above))
        for node in range(len(parent))
    ]


def conditional_softmax(parent: Parents, row: Row, y: int) -> float:
    return -log(conditional_softmax_probabilities(parent, row)[y])


def conditional_sigmoid_probabilities(parent: Parents, row: Row) -> list[float]:
    return [
        product_down(parent, node, lambda above: sigmoid(row[above])) for node in range(len(parent))
    ]


def conditional_sigmoid(parent: Parents, row: Row, y: int) -> float:
    total = 0.0
    for above in path(parent, y)[:-1]:
        for child in children(parent, above):
            right = child in slow_ancestors(parent, y)
            total += -log(sigmoid(row[child]) if right else 1 - sigmoid(row[child]))
    return total


def multilabel_focal(parent: Parents, row: Row, y: int, *, alpha: float, gamma: float) -> float:
    total = 0.0
    for node in range(1, len(parent)):
        right = node in slow_ancestors(parent, y)
        p = sigmoid(row[node]) if right else 1 - sigmoid(row[node])
        total += (alpha if right else 1 - alpha) * (1 - p) ** gamma * -log(p)
    return total


def multilabel_probabilities(parent: Parents, row: Row) -> list[float]:
    return [1.0, *(sigmoid(score) for score in row[1:])]


def shared(parent: Parents, row: Row) -> list[float]:
    return [sum(row[above] for above in path(parent, v)[1:]) for v in range(len(parent))]


def shared_probabilities(parent: Parents, row: Row) -> list[float]:
    scores = shared(parent, row)
    return flat_probabilities(parent, [scores[leaf] for leaf in slow_leaves(parent)])


def parameter_sharing(parent: Parents, row: Row, y: int) -> float:
    return -log(shared_probabilities(parent, row)[y])


def edge_distance(parent: Parents, a: int, b: int) -> float:
    return float(len(set(slow_ancestors(parent, a)) ^ set(slow_ancestors(parent, b))))


def information_distance(parent: Parents, a: int, b: int) -> float:
    def information(node: int) -> float:
        return log(len(slow_leaves(parent)) / len(leaves_below(parent, node)))

    return information(a) + information(b) - 2 * information(slow_lca(parent, a, b))


def soft_max_margin(parent: Parents, row: Row, y: int, *, margin: str, tau: float) -> float:
    distance = edge_distance if margin == "edge" else information_distance
    terms = [exp(row[v] + tau * distance(parent, y, v)) for v in range(len(parent))]
    return log(sum(terms)) - row[y]


def subtree_probabilities(parent: Parents, row: Row) -> list[float]:
    return summed_up(parent, softmax(dict(enumerate(row))))


def energy(parent: Parents, row: Row, node: int) -> float:
    below = sum(exp(energy(parent, row, child)) for child in children(parent, node))
    return log(exp(row[node]) + below)


def descendant_softmax(parent: Parents, row: Row, y: int, *, form: str) -> float:
    total = 0.0
    for a in path(parent, y):
        if form == "root":
            against = energy(parent, row, 0)
        else:
            beside = [
                sibling
                for above in path(parent, a)[1:]
                for sibling in children(parent, parent[above])
                if sibling != above
            ]
            against = log(exp(row[a]) + sum(exp(energy(parent, row, u)) for u in beside))
        total += (against - row[a]) / len(leaves_below(parent, a))
    return total


def frontier(parent: Parents, cut: Sequence[bool]) -> list[int]:
    """Walk down from the root, which is never cut, and stop at cut nodes and leaves."""
    ends, waiting = [], [0]
    while waiting:
        node = waiting.pop()
        below = children(parent, node)
        if not below or (cut[node] and node != 0):
            ends.append(node)
        else:
            waiting += below
    return sorted(ends)


def random_cut(parent: Parents, row: Row, y: int, cut: Sequence[bool]) -> float:
    scores = shared(parent, row)
    probs = softmax({node: scores[node] for node in frontier(parent, cut)})
    comparable = {*slow_ancestors(parent, y), *slow_subtree(parent, y)}
    return -log(sum(p for node, p in probs.items() if node in comparable))


def random_cut_probabilities(parent: Parents, row: Row, *, temperature: float) -> list[float]:
    return [1.0, *(sigmoid(score / temperature) for score in shared(parent, row)[1:])]


def hierarchical_supcon(
    parent: Parents,
    views: Sequence[Sequence[Sequence[float]]],
    target: Sequence[int],
    supcon: Callable[[Sequence[Sequence[Sequence[float]]], Sequence[int]], float],
    weights: Sequence[float],
) -> float:
    """The flat loss of the images that are labelled at each level, weighted."""
    total = 0.0
    for at, weight in enumerate(weights, start=1):
        nodes = level(parent, at)
        known = [
            (image, node)
            for image, y in zip(views, target, strict=True)
            for node in path(parent, y)
            if node in nodes
        ]
        if known:
            total += weight * supcon([image for image, _ in known], [node for _, node in known])
    return total
