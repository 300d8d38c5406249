"""The image-text losses again, slowly, in loops over single pairs, as the paper prints them.

Features are lists of vectors. What is meant by each treatment of pairs that share a label is
written out in words of its own here: as targets and as sets of rivals.
"""

from collections.abc import Sequence
from math import exp, log

Vector = Sequence[float]


def dot(a: Vector, b: Vector) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def image_text(
    images: Sequence[Vector],
    texts: Sequence[Vector],
    labels: Sequence[int],
    scale: float,
    *,
    duplicates: str,
) -> float:
    """The inner sums of the equation of section 3.3, for one level, over the labelled pairs."""
    pairs = [i for i, label in enumerate(labels) if label != -1]
    total = 0.0
    for i in pairs:
        total += one_direction(i, images[i], texts, pairs, labels, scale, duplicates)
        total += one_direction(i, texts[i], images, pairs, labels, scale, duplicates)
    return total / len(pairs) if pairs else 0.0


def one_direction(
    i: int,
    anchor: Vector,
    others: Sequence[Vector],
    pairs: Sequence[int],
    labels: Sequence[int],
    scale: float,
    duplicates: str,
) -> float:
    """Minus the logarithm of the share of pair i among its rivals, or a mean of such."""
    namesakes = [j for j in pairs if labels[j] == labels[i]]
    rivals = [j for j in pairs if not (duplicates == "masked" and j in namesakes and j != i)]
    meant = namesakes if duplicates == "positives" else [i]
    whole = sum(exp(scale * dot(anchor, others[j])) for j in rivals)
    return sum(-log(exp(scale * dot(anchor, others[j])) / whole) for j in meant) / len(meant)


def hierarchical_image_text(
    images: Sequence[Sequence[Vector]],
    texts: Sequence[Sequence[Vector]],
    labels: Sequence[Sequence[int]],
    scales: Sequence[float],
    *,
    weights: Sequence[float],
    duplicates: str,
) -> float:
    """The whole equation, its outer sum weighted: features by level, labels by image."""
    total = 0.0
    for level, weight in enumerate(weights):
        of_level = [of_image[level] for of_image in labels]
        total += weight * image_text(
            images[level], texts[level], of_level, scales[level], duplicates=duplicates
        )
    return total
