"""Scores of nodes by the vectors of their names, and the loss on them, slowly: an image at a time.

A tree is the list of the parents of its nodes, the root's being -1.
"""

from collections.abc import Sequence
from math import exp, log, sqrt

Vector = Sequence[float]
Matrix = Sequence[Vector]


def path(parents: Sequence[int], node: int) -> list[int]:
    """From the root to the node, so that the node of depth k is at place k."""
    found = [node]
    while parents[found[0]] >= 0:
        found.insert(0, parents[found[0]])
    return found


def cosine(a: Vector, b: Vector) -> float:
    product = sum(x * y for x, y in zip(a, b, strict=True))
    return product / sqrt(sum(x * x for x in a)) / sqrt(sum(y * y for y in b))


def node_scores(
    parents: Sequence[int],
    embedding: Vector,
    vectors: Matrix,
    *,
    levels: Sequence[int],
    projections: Sequence[Matrix],
    scales: Sequence[float],
) -> list[float]:
    """V_l(I) . T(name) of each node: a chosen level also looks at the unchosen ones above it."""
    scores = []
    for node, vector in enumerate(vectors):
        depth = len(path(parents, node)) - 1
        serving = [place for place, level in enumerate(levels) if level >= depth]
        if node == 0 or not serving:
            scores.append(0.0)
            continue
        place = serving[0]
        seen = [
            sum(w * x for w, x in zip(row, embedding, strict=True)) for row in projections[place]
        ]
        scores.append(scales[place] * cosine(seen, vector))
    return scores


def name_contrast(
    parents: Sequence[int],
    scores: Matrix,
    targets: Sequence[int],
    *,
    levels: Sequence[int],
    weights: Sequence[float],
    duplicates: str,
) -> float:
    """Sum over levels of the symmetric in-batch contrast between images and names of taxa."""
    total = 0.0
    for level, weight in zip(levels, weights, strict=True):
        taxa: dict[int, int] = {}  # of each image that has one at this level
        for image, target in enumerate(targets):
            down = path(parents, target)
            if len(down) > level:
                taxa[image] = down[level]
            elif target not in parents:  # a leaf stays in the levels below it
                taxa[image] = target
        if not taxa:
            continue
        of_level = 0.0
        for image, taxon in taxa.items():
            partners = [one for one in taxa if taxa[one] == taxon]
            rivals = [one for one in taxa if one == image or one not in partners]
            compared = rivals if duplicates == "masked" else list(taxa)
            right = partners if duplicates == "positives" else [image]
            by_text = sum(exp(scores[image][taxa[one]]) for one in compared)
            by_image = sum(exp(scores[one][taxon]) for one in compared)
            for one in right:
                of_level -= log(exp(scores[image][taxa[one]]) / by_text) / len(right)
                of_level -= log(exp(scores[one][taxon]) / by_image) / len(right)
        total += weight * of_level / len(taxa)
    return total
