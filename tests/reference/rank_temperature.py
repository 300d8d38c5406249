"""Temperatures of ranks, one image and one taxon at a time, from the definition."""

from collections.abc import Sequence
from math import log

from taxonet.taxonomy import Taxonomy


def at_rank(probs: Sequence[float], taxa: Sequence[int], temperature: float) -> list[float]:
    """Return q of each taxon of the rank for one image."""
    powers = [probs[v] ** (1 / temperature) for v in taxa]
    mass = sum(probs[v] for v in taxa)
    return [mass * power / sum(powers) if mass else 0.0 for power in powers]


def mean_nll(
    images: Sequence[Sequence[float]],
    truth: Sequence[int],
    *,
    taxonomy: Taxonomy,
    rank: str,
    temperature: float,
) -> float:
    """Return the mean negative log-likelihood of the images that have a taxon at the rank."""
    taxa = [node for node in range(len(taxonomy)) if taxonomy.rank_name(node) == rank]
    terms = []
    for probs, node in zip(images, truth, strict=True):
        above = [int(one) for one in taxonomy.ancestors(node) if int(one) in taxa]
        if above:
            powers = {v: probs[v] ** (1 / temperature) for v in taxa}
            terms.append(-log(powers[above[0]] / sum(powers.values())))
    return sum(terms) / len(terms)
