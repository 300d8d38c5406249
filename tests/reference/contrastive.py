"""The contrastive losses again, slowly, in loops over single embeddings, as the papers print them.

Views are lists of images, each a list of two vectors.
"""

from collections.abc import Sequence
from math import dist, exp, log, sqrt

Vector = Sequence[float]


def dot(a: Vector, b: Vector) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def flat(views: Sequence[Sequence[Vector]], target: Sequence[int]) -> list[tuple[Vector, int]]:
    return [(view, y) for image, y in zip(views, target, strict=True) for view in image]


def supcon(
    views: Sequence[Sequence[Vector]], target: Sequence[int], *, temperature: float
) -> float:
    """Eq. 2 of Khosla et al., averaged over the anchors."""
    batch = flat(views, target)
    total = 0.0
    for i, (anchor, y) in enumerate(batch):
        denominator = sum(
            exp(dot(anchor, v) / temperature) for a, (v, _) in enumerate(batch) if a != i
        )
        terms = [
            -log(exp(dot(anchor, v) / temperature) / denominator)
            for p, (v, label) in enumerate(batch)
            if label == y and p != i
        ]
        total += sum(terms) / len(terms)
    return total / len(batch)


def balanced_contrastive(
    centers: Sequence[Vector],
    views: Sequence[Sequence[Vector]],
    target: Sequence[int],
    *,
    temperature: float,
) -> float:
    """The centres as further members, and a mean over each class in the denominator."""
    batch = flat(views, target)
    members = [*batch, *((center, k) for k, center in enumerate(centers))]
    total = 0.0
    for i, (anchor, y) in enumerate(batch):
        denominator = 0.0
        for k in range(len(centers)):
            of_class = [
                exp(dot(anchor, v) / temperature)
                for a, (v, label) in enumerate(members)
                if label == k and a != i
            ]
            denominator += sum(of_class) / len(of_class)
        terms = [
            -log(exp(dot(anchor, v) / temperature) / denominator)
            for p, (v, label) in enumerate(members)
            if label == y and p != i
        ]
        total += sum(terms) / len(terms)
    return total / len(batch)


def gaussian_mixture(
    centers: Sequence[Vector],
    queries: Sequence[Vector],
    query_target: Sequence[int],
    contrast: Sequence[Vector],
    contrast_target: Sequence[int],
    *,
    counts: Sequence[int],
    temperature: float,
) -> float:
    """Bayes' rule with densities of Gaussian mixtures, constants and all, in plain probabilities.

    ``e^{-|q - u|^2 / 2T}``, the Gaussian of variance T, takes the place of ``e^{q . u / T}``: for
    unit vectors they differ by a factor that all classes share.
    """
    total = 0.0
    for query, y in zip(queries, query_target, strict=True):
        joint = []
        for k, center in enumerate(centers):
            samples = [u for u, j in zip(contrast, contrast_target, strict=True) if j == k]
            samples = samples or [center]
            densities = [exp(-(dist(query, u) ** 2) / (2 * temperature)) for u in samples]
            joint.append(counts[k] / sum(counts) * sum(densities) / len(samples))
        total += -log(joint[y] / sum(joint))
    return total / len(queries)


def dro(
    centers: Sequence[Vector],
    views: Sequence[Sequence[Vector]],
    target: Sequence[int],
    *,
    radii: Sequence[float],
    temperature: float,
) -> float:
    """The bound on the loss of the worst centre, a mean over the classes of the batch."""
    batch = flat(views, target)
    of_classes = []
    for k in sorted(set(target)):
        denominator = 0.0
        for v, label in batch:
            farther = 2 * radii[k] if label == k else 0.0
            denominator += exp(-(dist(centers[k], v) + farther) / temperature)
        own = [v for v, label in batch if label == k]
        terms = [
            -log(exp(-(dist(centers[k], v) + 2 * radii[k]) / temperature) / denominator)
            for v in own
        ]
        of_classes.append(sum(terms) / len(terms))
    return sum(of_classes) / len(of_classes)


def sqrt_radii(counts: Sequence[int], epsilon: float) -> list[float]:
    return [epsilon / sqrt(count) for count in counts]
